package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.DestinationRule;
import io.tailwater.agent.control.istio.HostScope;
import io.tailwater.agent.control.istio.ServiceEntry;
import io.tailwater.agent.control.istio.VirtualService;
import io.tailwater.agent.control.istio.Visibility;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.dataplane.route.Explanation;
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

  private final List<DestinationRule> rules;
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
    this.rules = rules.stream().sorted(DestinationRules.AGE).toList();
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

  /// The DestinationRules that name a destination and do not hold, with why. For people.
  List<Explanation.Considered> rulesFor(
      String client,
      Set<Map<String, String>> selecting,
      String serviceNamespace,
      String host,
      int most) {
    if (!(HostScope.read(host, "") instanceof HostScope.Read.Scope(HostScope service))
        || service.pattern().isEmpty()) {
      return List.of();
    }
    Optional<DestinationRules.Merged> found =
        destinations.find(
            client,
            some -> some.isEmpty() || selecting.contains(some),
            serviceNamespace,
            service.pattern().get());
    return rules.stream()
        .filter(rule -> rule.host().contains(service))
        .filter(rule -> found.stream().noneMatch(f -> f.ref().equals(rule.ref())))
        .limit(most)
        .map(rule ->
            new Explanation.Considered(
                rule.ref(), rule.host().show(), fate(rule, found, client, serviceNamespace)))
        .toList();
  }

  private static String fate(
      DestinationRule rule,
      Optional<DestinationRules.Merged> found,
      String client,
      String serviceNamespace) {
    boolean own = rule.namespace().equals(client);
    Visibility visibility = Visibility.of(rule.exportTo(), rule.namespace(), List.of("*"));
    if (!own && !visibility.covers(client)) {
      return "is not exported to " + client + " (exportTo: " + visibility.show() + ")";
    }
    if (found.isEmpty()) {
      return rule.workloadSelector().isPresent()
          ? "selects other workloads, or those of its own namespace alone"
          : "is in neither the client's namespace nor "
              + serviceNamespace
              + " nor the root namespace";
    }
    DestinationRules.Merged winner = found.get();
    if (!rule.namespace().equals(winner.ref().namespace())) {
      return "is not asked: " + Problem.show(winner.ref()) + " is in a namespace that comes first";
    }
    return rule.host().equals(winner.host())
        ? "is for the same host as "
            + Problem.show(winner.ref())
            + ", and adds at most what that leaves out"
        : "is less specific than " + winner.host().show();
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
