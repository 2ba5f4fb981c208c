/// The commands. In: the command line. Out: text or JSON, and an exit code. Each command is a
/// class; `Tailwater` lists them. On the main thread. Neighbours: `run` starts the node's agent,
/// the others read files or ask a running agent over HTTP.
@NullMarked
package io.tailwater.agent.cli;

import org.jspecify.annotations.NullMarked;
