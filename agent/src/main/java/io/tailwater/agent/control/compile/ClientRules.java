package io.tailwater.agent.control.compile;

import io.tailwater.agent.dataplane.route.Action;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.ResourceRef;
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

  /// How the client connects to a port of a service.
  ///
  /// @param subset a subset of the service, empty for the whole
  default ConnectionPolicy policy(Service service, int port, Optional<String> subset) {
    return ConnectionPolicy.DEFAULT;
  }

  /// The subset of that name; empty where no rule defines it.
  default Optional<Backend.Subset> subset(Service service, String name) {
    return Optional.empty();
  }

  /// The routes that a port of a service has in place of its own destination.
  default Routes routes(Service service, Service.Port port, Destinations destinations) {
    return Routes.NONE;
  }

  /// Where a route may lead: every service that the client sees.
  interface Destinations {
    /// What is done for a destination of a route, under the client's rules; `cluster_not_found`
    /// where there is none.
    ///
    /// @param by the resource that has the route
    Action to(String host, int port, Optional<String> subset, ResourceRef by);
  }

  /// @param tls by SNI; they come before the service's own
  /// @param rest what takes the place of the service's own destination for bytes without a name
  /// @param http by Host; they come before the service's own
  record Routes(
      Map<HostPattern, Action> tls, Optional<Action> rest, Map<HostPattern, Action> http) {
    static final Routes NONE = new Routes(Map.of(), Optional.empty(), Map.of());

    public Routes {
      tls = Map.copyOf(tls);
      http = Map.copyOf(http);
    }
  }
}
