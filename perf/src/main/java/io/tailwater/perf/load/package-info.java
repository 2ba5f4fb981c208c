/// The load: one server and one client, each a process with one thread, one epoll and no allocation
/// per message. What comes in: lines on standard input ({@link io.tailwater.perf.load.Fields});
/// what goes out: one line of measurements per run. System calls are made through jnr-ffi on plain
/// descriptors, because the generator must be cheap enough that the proxy, and not it, is what is
/// measured. Neighbours: `wire` for the bytes, `measure` for CPU and latency; started by `run`.
package io.tailwater.perf.load;
