package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.DestinationRule;
import io.tailwater.agent.control.istio.HostScope;
import io.tailwater.agent.control.istio.ServiceEntry;
import io.tailwater.agent.control.istio.VirtualService;
import io.tailwater.agent.traffic.HostPattern;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/// DestinationRules and VirtualServices as one: what they make of services for whom. Immutable; any
/// thread.
final class RoutingRules {
  private record HostOf(String namespace, HostPattern host) {}

  private final DestinationRules destinations;
  private final VirtualServices routes;
  private final Map<HostOf, List<String>> serverNames = new HashMap<>();
  private final Set<Map<String, String>> labels = new HashSet<>();
  private final Set<String> particular = new HashSet<>();

  /// @param entries for their `subjectAltNames`
  RoutingRules(
      List<DestinationRule> rules,
      List<VirtualService> services,
      List<ServiceEntry> entries,
      String rootNamespace) {
    this.destinations = new DestinationRules(rules, rootNamespace);
    this.routes = new VirtualServices(services);
    for (ServiceEntry entry : entries.stream().sorted(Service.ENTRY_AGE).toList()) {
      if (!entry.subjectAltNames().isEmpty()) {
        entry
            .hosts()
            .forEach(host ->
                serverNames.putIfAbsent(
                    new HostOf(entry.namespace(), host), entry.subjectAltNames()));
      }
    }
    labels.addAll(routes.labels());
    rules.forEach(rule -> rule.workloadSelector().ifPresent(labels::add));
    particular.addAll(destinations.namespaces());
    rules.forEach(rule ->
        rule.exportTo().stream()
            .filter(to -> !to.equals("*") && !to.equals("."))
            .forEach(particular::add));
    particular.addAll(routes.namespaces());
  }

  /// The labels that rules select by and a pod has: what its view depends on.
  Set<Map<String, String>> selecting(Map<String, String> podLabels) {
    return labels.stream()
        .filter(some -> podLabels.entrySet().containsAll(some.entrySet()))
        .collect(Collectors.toUnmodifiableSet());
  }

  /// Whether rules still select by all of these.
  boolean selectsBy(Set<Map<String, String>> selecting) {
    return labels.containsAll(selecting);
  }

  /// Whether clients of a namespace may see something else than others do, their labels aside.
  boolean isParticular(String namespace) {
    return particular.contains(namespace);
  }

  /// The VirtualServices as far as a Sidecar's imports are concerned.
  ///
  /// @param client the namespace of the clients; empty counts the destinations for all
  List<SidecarScope.Routes> imports(Optional<String> client) {
    List<SidecarScope.Routes> out = new ArrayList<>();
    for (VirtualServices.Ranked one : routes.all()) {
      Map<HostPattern, Set<Integer>> leadsTo = new HashMap<>();
      for (VirtualService.Destination to : VirtualServices.destinations(one.service(), client)) {
        if (HostScope.read(to.host(), "") instanceof HostScope.Read.Scope(HostScope host)) {
          host.pattern()
              .ifPresent(pattern ->
                  leadsTo.merge(
                      pattern, to.port().map(Set::of).orElse(Set.of()), RoutingRules::ports));
        }
      }
      out.add(
          new SidecarScope.Routes(
              one.service().namespace(), one.visibility(), one.service().hosts(), leadsTo));
    }
    return out;
  }

  /// No port is every port.
  private static Set<Integer> ports(Set<Integer> some, Set<Integer> more) {
    if (some.isEmpty() || more.isEmpty()) {
      return Set.of();
    }
    Set<Integer> out = new HashSet<>(some);
    out.addAll(more);
    return out;
  }

  DestinationRules destinations() {
    return destinations;
  }

  VirtualServices routes() {
    return routes;
  }

  /// The `subjectAltNames` of a service's entries.
  List<String> serverNames(Service service) {
    return serverNames.getOrDefault(new HostOf(service.namespace(), service.host()), List.of());
  }
}
