/// From resources to decisions. In: one `ResourceSet`, the mesh's and the agent's settings. Out: an
/// immutable `RouteTable` and every `Problem` found on the way. One writer: `PolicyCompiler` is
/// used by one thread, everything that leaves it is immutable. Neighbours: `control.istio` reads
/// the single resources; `dataplane.route` holds what is decided with.
@NullMarked
package io.tailwater.agent.control.compile;

import org.jspecify.annotations.NullMarked;
