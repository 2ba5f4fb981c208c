/// Talking to the kernel by netlink: which rules changed, what was refused, which entries to renew.
/// In: a network namespace, a protocol, groups. Out: messages, as the kernel wrote them.
///
/// [io.tailwater.iptables.netlink.MessageWriter] and
/// [io.tailwater.iptables.netlink.NetlinkMessages] are pure: bytes in, values out.
/// [io.tailwater.iptables.netlink.NetlinkSocket] is one socket, born in a namespace;
/// [io.tailwater.iptables.netlink.NetlinkPoller] waits for all of them on one platform thread,
/// however many namespaces there are.
///
/// Neighbours: `libc` and `netns` below; above it whoever knows what a message means.
package io.tailwater.iptables.netlink;
