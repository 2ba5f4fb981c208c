package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.Waypoint;
import io.tailwater.agent.dataplane.route.Action;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.route.UpstreamHttp;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// What becomes of workloads that are dialled by their address; the same for every client.
/// Immutable.
///
/// @param known those whose address is known
/// @param bound those among them that are bound to a waypoint
/// @param unusedWaypoints how many are bound to a waypoint that cannot be used, and go without
record KnownWorkloads(
    Map<InetAddress, Action> known, Map<InetAddress, Action> bound, int unusedWaypoints) {
  KnownWorkloads {
    known = Map.copyOf(known);
    bound = Map.copyOf(bound);
  }

  static KnownWorkloads of(Workloads workloads, Waypoints waypoints) {
    Map<InetAddress, Action> known = new HashMap<>();
    Map<InetAddress, Action> bound = new HashMap<>();
    Set<ResourceRef> without = new HashSet<>();
    workloads
        .byAddress()
        .forEach((address, workload) -> {
          known.put(address, direct(workload));
          switch (waypoints.ofWorkload(workload.ref(), workload.labels())) {
            case Waypoints.Binding.Unbound _ -> {}
            case Waypoints.Binding.Unavailable _ -> without.add(workload.ref());
            case Waypoints.Binding.Bound(Waypoint waypoint) ->
                bound.put(
                    address,
                    new Action.ToWaypoint(
                        new Decision.ToWaypoint(
                            waypoint.name(), Optional.empty(), workload.ref())));
          }
        });
    return new KnownWorkloads(known, bound, without.size());
  }

  /// Somebody wrote the address of a WorkloadEntry, so that it is not beyond suspicion.
  private static Action direct(Workloads.Known workload) {
    return new Action.ToWorkload(
        new Decision.Destination(
            Decision.PASSTHROUGH,
            AddressText.of(workload.address()),
            workload.ref().namespace(),
            0,
            UpstreamHttp.CLIENTS,
            ConnectionPolicy.DEFAULT),
        new Target.Traits(1, "", workload.hbone()),
        workload.inside()
            ? AddressRule.UNFILTERED
            : new AddressRule(AddressRule.Scope.NEVER_LIST, List.of()),
        workload.ref());
  }
}
