/// The life of a connection, from accepted to ended; read `ConnectionFlow` first. In: accepted
/// connections of a pod. Out: relayed bytes and an `Outcome`. Everything of a connection runs on
/// its one loop. Neighbours: all stages below.
@NullMarked
package io.tailwater.agent.dataplane.flow;

import org.jspecify.annotations.NullMarked;
