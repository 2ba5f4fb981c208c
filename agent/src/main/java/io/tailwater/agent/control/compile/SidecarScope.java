package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.HostScope;
import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.control.istio.Sidecar;
import io.tailwater.agent.control.istio.Visibility;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/// What the clients of one namespace see through one Sidecar, as `SidecarScope` of istiod has it:
/// the services that its egress listeners import, and what the VirtualServices that they import
/// lead to. Pure and immutable.
final class SidecarScope {
  /// A VirtualService, as far as imports are concerned.
  ///
  /// @param leadsTo its destinations for these clients: hosts with their ports, none meaning all
  record Routes(
      String namespace,
      Visibility visibility,
      List<HostScope> hosts,
      Map<HostPattern, Set<Integer>> leadsTo) {
    Routes {
      hosts = List.copyOf(hosts);
      leadsTo = Map.copyOf(leadsTo);
    }
  }

  private static final List<Sidecar.Egress> EVERYTHING =
      List.of(new Sidecar.Egress(Optional.empty(), Optional.empty(), List.of(Sidecar.Import.ALL)));

  private final List<Sidecar.Egress> listeners;
  private final Set<Integer> locked = new HashSet<>();
  private final Optional<Sidecar.EgressProxy> egressProxy;
  private final String client;

  /// @param client the namespace of the clients, which `.` means in a Sidecar of the root namespace
  ///   too
  SidecarScope(Sidecar sidecar, String client) {
    this.client = client;
    this.egressProxy = sidecar.outbound().flatMap(Sidecar.Outbound::egressProxy);
    this.listeners =
        sidecar.egress().isEmpty()
            ? EVERYTHING
            : sidecar.egress().stream().filter(Sidecar.Egress::captured).toList();
    for (Sidecar.Egress listener : listeners) {
      listener.port().ifPresent(p -> locked.add(p.number()));
    }
  }

  // ---- services ----------------------------------------------------------------------------

  /// The services that the clients see, in the order given.
  ///
  /// @param exported the services whose `exportTo` covers the clients, oldest first
  List<Service> visible(List<Service> exported, List<Routes> routes) {
    Map<Service, Service> seen = new LinkedHashMap<>();
    Set<HostPattern> explicit = new HashSet<>();
    for (Service service : exported) {
      imported(service)
          .ifPresent(part -> {
            seen.put(service, part);
            explicit.add(service.host());
          });
    }
    Map<HostPattern, Service> implied = implied(exported, routes, explicit);
    List<Service> out = new ArrayList<>();
    for (Service service : exported) {
      @Nullable Service part = seen.get(service);
      @Nullable Service led = implied.get(service.host());
      if (part != null) {
        out.add(part);
      } else if (led != null && led.ref().equals(service.ref())) {
        out.add(led);
      }
    }
    return out;
  }

  /// The part of a service that the listeners import, if any do.
  private Optional<Service> imported(Service service) {
    List<Service.Port> ports = new ArrayList<>();
    boolean any = false;
    for (Sidecar.Egress listener : listeners) {
      if (!imports(listener, service.namespace(), service.host())) {
        continue;
      }
      if (listener.port().isEmpty()) {
        any = true;
        service.ports().stream().filter(p -> !locked.contains(p.number())).forEach(ports::add);
      } else {
        Sidecar.Port at = listener.port().get();
        Optional<Service.Port> port = service.port(at.number());
        any |= port.isPresent();
        port.ifPresent(p -> ports.add(asListened(p, at, listener.bind())));
      }
    }
    return any ? Optional.of(service.with(ports)) : Optional.empty();
  }

  /// A listener with a port says itself what is spoken there, and where.
  private static Service.Port asListened(
      Service.Port port, Sidecar.Port at, Optional<String> bind) {
    Service.Port spoken = at.protocol() == Protocol.UNSET ? port : port.with(at.protocol());
    return bind.flatMap(CidrBlock::parse).map(spoken::boundTo).orElse(spoken);
  }

  /// The port as that of an egress listener, which then has it alone.
  Optional<Integer> listener(int port) {
    return locked.contains(port) ? Optional.of(port) : Optional.empty();
  }

  /// Whether a service of that host and port is seen, or would be.
  boolean imports(String namespace, HostPattern host, int port) {
    return at(port).anyMatch(l -> imports(l, namespace, host));
  }

  /// What says of that host and port that it is not seen, whatever else is imported.
  Optional<Sidecar.Import> excludes(String namespace, HostPattern host, int port) {
    return at(port)
        .flatMap(l -> l.hosts().stream())
        .filter(i -> i.excludes() && i.about(namespace, client) && i.contains(host))
        .findFirst();
  }

  private Stream<Sidecar.Egress> at(int port) {
    Optional<Integer> own = listener(port);
    return listeners.stream().filter(l -> l.port().map(Sidecar.Port::number).equals(own));
  }

  private boolean imports(Sidecar.Egress listener, String namespace, HostPattern host) {
    boolean included = false;
    for (Sidecar.Import item : listener.hosts()) {
      if (item.about(namespace, client) && item.contains(host)) {
        if (item.excludes()) {
          return false;
        }
        included = true;
      }
    }
    return included;
  }

  /// What imported routes lead to, and the egress proxy, where nothing imports them by name: for
  /// each host the client's own service, else a Kubernetes Service, else the oldest.
  private Map<HostPattern, Service> implied(
      List<Service> exported, List<Routes> routes, Set<HostPattern> explicit) {
    Map<HostPattern, Set<Integer>> wanted = new HashMap<>();
    egressProxy.ifPresent(proxy ->
        wanted.put(new HostPattern.Exact(HostName.of(proxy.host())), Set.of(proxy.port())));
    for (Routes route : routes) {
      if (route.visibility.covers(client) && imports(route.namespace, route.hosts)) {
        route.leadsTo.forEach((host, ports) -> {
          if (!explicit.contains(host)) {
            // No port means every port, which is more than any.
            wanted.merge(
                host,
                ports,
                (a, b) -> {
                  if (a.isEmpty() || b.isEmpty()) {
                    return Set.of();
                  }
                  Set<Integer> both = new HashSet<>(a);
                  both.addAll(b);
                  return both;
                });
          }
        });
      }
    }
    Map<HostPattern, Service> out = new HashMap<>();
    if (wanted.isEmpty()) {
      return out;
    }
    for (Service service : exported) {
      @Nullable Set<Integer> ports = wanted.get(service.host());
      if (ports != null) {
        List<Service.Port> some =
            service.ports().stream()
                .filter(p -> ports.isEmpty() || ports.contains(p.number()))
                .filter(p -> !locked.contains(p.number()))
                .toList();
        if (!some.isEmpty()) {
          out.merge(
              service.host(),
              service.with(some),
              (older, younger) -> younger.beats(older, client) ? younger : older);
        }
      }
    }
    return out;
  }

  // ---- VirtualServices ---------------------------------------------------------------------

  /// Whether a VirtualService of a namespace is imported: one of its hosts has a name in common
  /// with what a listener imports from there, and is not excluded.
  boolean imports(String namespace, List<HostScope> hosts) {
    for (Sidecar.Egress listener : listeners) {
      for (HostScope host : hosts) {
        if (overlaps(listener, namespace, host)) {
          return true;
        }
      }
    }
    return false;
  }

  private boolean overlaps(Sidecar.Egress listener, String namespace, HostScope host) {
    boolean included = false;
    for (Sidecar.Import item : listener.hosts()) {
      if (!item.about(namespace, client)) {
        continue;
      }
      HostScope names = item.host().map(HostScope::of).orElse(HostScope.ALL);
      if (item.excludes() && names.contains(host)) {
        return false;
      }
      included |= !item.excludes() && names.overlaps(host);
    }
    return included;
  }
}
