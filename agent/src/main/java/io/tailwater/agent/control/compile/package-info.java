/// From resources to decisions. In: one `ResourceSet`, the mesh's and the agent's settings. Out: an
/// immutable `RouteTable` and every `Problem` found on the way. One writer: `PolicyCompiler` is
/// used by one thread, everything that leaves it is immutable. Neighbours: `control.istio` reads
/// the single resources; `dataplane.route` holds what is decided with.
///
/// From entries to a decision, and where other kinds of resources take part:
///
/// 1. `PolicyCompiler.services` makes one `Service` per namespace and host; a `Service.Port` has a
///    `Backend`: what is behind it before any client's rules. Another registry (Kubernetes
///    Services) adds its services here.
/// 2. `CompiledRoutes.view` finds the key of a pod's view; pods with equal keys share one.
/// 3. `CompiledRoutes.visible` gives the services that a key sees (exportTo; Sidecar imports),
///    `CompiledRoutes.outbound` what becomes of unknown destinations.
/// 4. `ClientRules` says what rules of other kinds make of a visible service: `reach` (a
///    `ConnectionPolicy` for service, port and subset), `subset`, and `routes` (what takes the
///    place of the service's own destination; `Destinations` makes the action for a route's
///    target). `ClientRouting` is the one for DestinationRules and VirtualServices.
/// 5. `ViewBuilder` lays all of it out as listeners; `DestinationPolicy.AnyPort` takes addresses
///    before (waypoints) and after (known addresses) everything that goes by port.
@NullMarked
package io.tailwater.agent.control.compile;

import org.jspecify.annotations.NullMarked;
