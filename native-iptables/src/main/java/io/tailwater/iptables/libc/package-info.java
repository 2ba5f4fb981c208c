/// System calls, typed. In: descriptors, addresses and numbers. Out: a result, or `-errno` on the
/// calls of the data path, or a [io.tailwater.iptables.libc.SyscallException] that says what an
/// operator can do on all others.
///
/// Thread: any; no call keeps state, except that `setns` and `unshare` change the calling thread.
/// Call [io.tailwater.iptables.libc.Syscalls#warmUp()] once at start: the first use loads a native
/// library and starts a finalizer thread, and a thread started from inside a pod's namespace would
/// stay there.
///
/// Neighbours: below it the C library through jnr-ffi, whose interface is private to this package;
/// above it `netns`, and the agent's relay and sockets.
package io.tailwater.iptables.libc;
