/// The kernel pass as far as the kernel is concerned: packets that rules hold
/// ([io.tailwater.iptables.queue.PacketQueue]) and what is answered; connections that are released
/// or denied, by their conntrack mark ([io.tailwater.iptables.queue.Conntrack]); the pod's own
/// sockets ([io.tailwater.iptables.queue.SocketDiag]); packets in a pod's name
/// ([io.tailwater.iptables.queue.RawPackets]); how released connections end
/// ([io.tailwater.iptables.queue.EndLog]).
///
/// Everything is raw netlink on sockets that are born in the namespace of the rules and are used
/// from anywhere; who decides is not here.
///
/// Neighbours: `netlink` and `rule` (marks, [io.tailwater.iptables.rule.KernelPass]) below.
package io.tailwater.iptables.queue;
