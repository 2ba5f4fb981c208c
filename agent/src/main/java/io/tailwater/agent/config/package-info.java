/// The agent's configuration: one YAML file and `TAILWATER_*` variables in, one immutable
/// `AgentConfig` out, or every problem at once with file, line and key. Runs at start only, on the
/// starting thread. Each room owns its own record; this one is their sum. Neighbours: `cli` reads,
/// `node` builds the agent from it, `admin` shows it.
@NullMarked
package io.tailwater.agent.config;

import org.jspecify.annotations.NullMarked;
