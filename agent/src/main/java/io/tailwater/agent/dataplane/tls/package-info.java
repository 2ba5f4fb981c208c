/// TLS towards upstreams: which certificates are trusted, which are shown, and whose certificate a
/// server must carry. In: `UpstreamTls` and files or Secrets. Out: an engine for one connection, or
/// why there is none. Files are read on virtual threads, never on a loop. Neighbours: route says
/// what is wanted, connect makes the handshake, control delivers Secrets.
@NullMarked
package io.tailwater.agent.dataplane.tls;

import org.jspecify.annotations.NullMarked;
