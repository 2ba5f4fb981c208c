/// `./tailwater perf code`: what the agent's own code costs on the way of a connection, without any
/// system call. JMH in fresh JVMs with the flags of the agent's image. Neither root nor network.
package io.tailwater.perf.code;
