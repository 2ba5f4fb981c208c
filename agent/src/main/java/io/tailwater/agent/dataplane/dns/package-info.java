/// Captured DNS: what a pod asks on port 53, whichever server it asked. In: packets and streams of
/// a pod's two loopback addresses on port 15053. Out: answers, and what each pod was told
/// (`ToldAddresses`).
///
/// ```
/// DnsPort ──query──▶ DnsProxy ── policy knows the name ──▶ given addresses | real, filtered ones (RealAnswer)
///                        │
///                        └────── all else ──▶ refused | AnswerCache | Forwarder ──▶ the configured servers
/// ```
///
/// Everything of one pod happens on one loop; sockets are opened and closed on the capture thread.
/// Neighbours: route knows names, resolve looks them up and passes questions on, account counts,
/// capture opens and closes, flow asks what was told.
@NullMarked
package io.tailwater.agent.dataplane.dns;

import org.jspecify.annotations.NullMarked;
