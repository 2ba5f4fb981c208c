/// The agent as a whole: what starts, in which order, and how it ends. In: a configuration. Out: a
/// running agent. Neighbours: everything below is put together here.
@NullMarked
package io.tailwater.agent.node;

import org.jspecify.annotations.NullMarked;
