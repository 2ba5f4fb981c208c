/// Network namespaces. In: a path under `/run/netns` or `/proc/PID/ns`. Out: a
/// [io.tailwater.iptables.netns.NetworkNamespace] in which sockets can be born, with its
/// [io.tailwater.iptables.netns.NetnsId].
///
/// Thread: platform threads only. A namespace belongs to an operating system's thread: a virtual
/// thread parked inside would leave its carrier in the pod, and a thread or process started from
/// inside is born there (so is Java's process reaper). Foreign programs are therefore run with
/// `nsenter` from an ordinary thread, see `apply`.
///
/// Neighbours: `libc` below; `apply` and the agent's socket makers above.
package io.tailwater.iptables.netns;
