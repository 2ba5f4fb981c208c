/// Network namespaces. In: a path under `/run/netns` or `/proc/PID/ns`. Out: a
/// [io.tailwater.iptables.netns.NetworkNamespace] in which sockets can be born, with its
/// [io.tailwater.iptables.netns.NetnsId].
///
/// Thread: platform threads only. A namespace belongs to an operating system's thread: a virtual
/// thread parked inside would leave its carrier in the pod, and a thread started from inside is
/// born there; so is Java's process reaper with a `Process`. Foreign programs are therefore started
/// by [io.tailwater.iptables.libc.ChildProcess], see `apply`.
///
/// Neighbours: `libc` below; `apply` and the agent's socket makers above.
package io.tailwater.iptables.netns;
