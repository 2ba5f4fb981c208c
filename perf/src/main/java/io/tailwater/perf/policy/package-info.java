/// `./tailwater perf policy`: a large policy, from its text to a table that decides, and what a
/// decision costs. The agent's own classes, in fresh JVMs with the flags of its image. Neither root
/// nor network. {@link io.tailwater.perf.policy.PolicyCommand} is the command and the only one
/// thread.
package io.tailwater.perf.policy;
