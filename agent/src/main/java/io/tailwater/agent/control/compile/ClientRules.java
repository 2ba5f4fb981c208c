package io.tailwater.agent.control.compile;

import io.tailwater.agent.dataplane.route.Action;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// What rules of other kinds make, for one client, of the services that it sees: DestinationRules
/// of how they are reached, VirtualServices of where they lead. Asked by `ViewBuilder` for each
/// visible service and port while a view is built; never by a connection.
interface ClientRules {
  /// Nothing but the services themselves.
  ClientRules NONE =
      new ClientRules() {
        @Override
        public Optional<ResourceRef> notHonoured(Service service) {
          return Optional.empty();
        }
      };

  /// What governs the service and is not honoured by this version.
  Optional<ResourceRef> notHonoured(Service service);

  /// How the client reaches a port of a service.
  ///
  /// @param subset a subset of the service, empty for the whole
  default Reach reach(Service service, Service.Port port, Optional<String> subset) {
    return Reach.PLAIN;
  }

  /// The subset of that name; empty where no rule defines it.
  default Optional<Backend.Subset> subset(Service service, String name) {
    return Optional.empty();
  }

  /// The routes that a port of a service has in place of its own destination.
  ///
  /// @param own what is done for that
  default Routes routes(Service service, Service.Port port, Action own, Destinations destinations) {
    return Routes.NONE;
  }

  /// The routes of a port that has an HTTP listener for hosts that none of its services has.
  default Map<HostPattern, Action> withoutService(
      int port, List<Service> services, Destinations destinations) {
    return Map.of();
  }

  /// How a destination is reached.
  sealed interface Reach {
    /// As it is where no rule says anything.
    Reach PLAIN = new By(ConnectionPolicy.DEFAULT);

    /// Under a policy.
    record By(ConnectionPolicy policy) implements Reach {}

    /// Not at all, because a rule asks for what this version does not do.
    record Not(ResourceRef rule) implements Reach {}
  }

  /// Where a route may lead: every service that the client sees.
  interface Destinations {
    /// What is done for a destination of a route, under the client's rules; `cluster_not_found`
    /// where there is none.
    ///
    /// @param port as the route names it; else the only one that the service has, else `dialled`
    /// @param by the resource that has the route
    Action to(
        String host, Optional<Integer> port, int dialled, Optional<String> subset, ResourceRef by);
  }

  /// @param tls by SNI; they come before the service's own
  /// @param onlyTls whether they take the place of the service's own destination altogether
  /// @param rest what takes the place of the service's own destination for bytes without a name
  /// @param http by Host; they come before the service's own
  record Routes(
      Map<HostPattern, Action> tls,
      boolean onlyTls,
      Optional<Action> rest,
      Map<HostPattern, Action> http) {
    static final Routes NONE = new Routes(Map.of(), false, Optional.empty(), Map.of());

    public Routes {
      tls = Map.copyOf(tls);
      http = Map.copyOf(http);
    }
  }
}
