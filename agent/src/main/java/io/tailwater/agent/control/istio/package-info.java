/// What Istio's and Kubernetes' resources mean. In: one `ResourceSet`, the mesh's and the agent's
/// settings. Out: an immutable `RouteTable` and every `Problem` found on the way. One writer:
/// `PolicyCompiler` is used by one thread, everything that leaves it is immutable. Neighbours:
/// `control.source` delivers the resources; `dataplane.route` holds what is decided with.
@NullMarked
package io.tailwater.agent.control.istio;

import org.jspecify.annotations.NullMarked;
