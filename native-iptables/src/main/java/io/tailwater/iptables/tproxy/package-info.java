/// UDP that TPROXY brings: whom a packet was for, and answers that seem to come from there. In: the
/// loopback address that the rules lead to, a port, a mark. Out: packets with both of their
/// addresses.
///
/// Thread: packets are taken on the thread of the [io.tailwater.iptables.netlink.NetlinkPoller];
/// answers are sent on any.
///
/// Neighbours: `libc` and `netlink` below; above it the agent's sockets.
package io.tailwater.iptables.tproxy;
