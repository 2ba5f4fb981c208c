package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.DestinationRule;
import io.tailwater.agent.control.istio.HostScope;
import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.control.istio.VirtualService;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.ResourceKey;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.control.source.YamlValue;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/// What Istio accepts of DestinationRules and VirtualServices and hardly anybody means: rules that
/// match nothing, routes that lead nowhere, TLS around TLS. Pure; one use.
final class RoutingWarnings {
  private final ResourceSet set;
  private final List<DestinationRule> rules;
  private final Map<HostScope, List<Service>> services = new HashMap<>();
  private final List<Problem> problems;

  private RoutingWarnings(
      ResourceSet set,
      List<DestinationRule> rules,
      List<Service> services,
      List<Problem> problems) {
    this.set = set;
    this.rules = rules;
    this.problems = problems;
    this.services.putAll(
        services.stream().collect(Collectors.groupingBy(s -> HostScope.of(s.host()))));
  }

  static void add(
      ResourceSet set,
      List<DestinationRule> rules,
      List<VirtualService> routes,
      List<Service> services,
      List<Problem> problems) {
    RoutingWarnings warnings = new RoutingWarnings(set, rules, services, problems);
    rules.forEach(warnings::rule);
    routes.stream().filter(VirtualService::isForMesh).forEach(warnings::routes);
  }

  /// At a field of `spec`, or where the object begins.
  private void warn(ResourceRef ref, String field, String message) {
    Optional<KubeObject> object =
        set.get(new ResourceKey("networking.istio.io", ref.kind(), ref.namespace(), ref.name()));
    object.ifPresent(o ->
        problems.add(
            new Problem(
                Problem.Severity.WARNING,
                o.file(),
                o.spec()
                    .flatMap(spec -> spec.field(field))
                    .map(YamlValue.Field::line)
                    .orElse(o.line()),
                Optional.of(ref),
                "spec." + field,
                message)));
  }

  private List<Service> within(HostScope hosts) {
    if (!hosts.below()) {
      return services.getOrDefault(hosts, List.of());
    }
    return services.entrySet().stream()
        .filter(e -> hosts.contains(e.getKey()))
        .flatMap(e -> e.getValue().stream())
        .toList();
  }

  // ---- DestinationRules --------------------------------------------------------------------

  private void rule(DestinationRule rule) {
    List<Service> found = within(rule.host());
    if (found.isEmpty()) {
      Optional<HostScope> wider =
          services.keySet().stream()
              .filter(s -> s.below() && s.contains(rule.host()))
              .min(HostScope.SPECIFICITY);
      warn(
          rule.ref(),
          "host",
          "matches nothing: "
              + wider
                  .map(w ->
                      "a service "
                          + w.show()
                          + " is found as a whole, so write that host or a wider one")
                  .orElse("no ServiceEntry or Service has this host"));
      return;
    }
    for (DestinationRule.Subset subset : rule.subsets()) {
      subset(rule, subset, found);
    }
    rule.trafficPolicy().ifPresent(policy -> policy(rule, policy, found));
  }

  private void subset(DestinationRule rule, DestinationRule.Subset subset, List<Service> found) {
    Backend.Subset labels = new Backend.Subset(subset.name(), subset.labels());
    boolean dynamic =
        found.stream()
            .flatMap(s -> s.ports().stream())
            .allMatch(p -> p.backend().source() instanceof Backend.Source.ByName);
    boolean any =
        found.stream().flatMap(s -> s.ports().stream()).anyMatch(p -> has(p.backend(), labels));
    if (dynamic) {
      warn(
          rule.ref(),
          "subsets",
          "a host with resolution DYNAMIC_DNS has no subsets; routes to \""
              + subset.name()
              + "\" are refused (cluster_not_found)");
    } else if (!any) {
      warn(
          rule.ref(),
          "subsets",
          "no endpoint has the labels of \""
              + subset.name()
              + "\"; routes to it are refused (no_healthy_upstream)");
    }
  }

  private static boolean has(Backend backend, Backend.Subset subset) {
    return switch (backend.source()) {
      case Backend.Source.Endpoints(List<Backend.Labelled> endpoints, _) ->
          endpoints.stream()
              .anyMatch(e -> e.labels().entrySet().containsAll(subset.labels().entrySet()));
      case Backend.Source.Dialled _ -> true;
      case Backend.Source.ByName _ -> false;
    };
  }

  private void policy(
      DestinationRule rule, DestinationRule.TrafficPolicy policy, List<Service> found) {
    Set<String> told = new LinkedHashSet<>();
    for (Service service : found) {
      for (Service.Port port : service.ports()) {
        DestinationRule.Settings settings = policy.of(port.number());
        String at = service.host().text() + ":" + port.number();
        if (port.backend().source() instanceof Backend.Source.ByName) {
          if (settings.outlier().isPresent()) {
            told.add("outlierDetection has no effect on " + at + ": its names are resolved");
          }
          if (settings.balancer().isPresent()) {
            told.add("loadBalancer has no effect on " + at + ": its names are resolved");
          }
        }
        boolean tls =
            settings
                .tls()
                .map(t ->
                    t.mode() != DestinationRule.Tls.Mode.DISABLE
                        && t.mode() != DestinationRule.Tls.Mode.ISTIO_MUTUAL
                        && t.sni().isEmpty()
                        && !t.insecureSkipVerify())
                .orElse(false);
        if (tls && port.protocol().family() == Protocol.Family.TLS) {
          told.add(
              "tls wraps the client's TLS to "
                  + at
                  + " in a second one, which sends no server name; use protocol HTTP for plaintext"
                  + " that is to be encrypted, or mode DISABLE");
        }
      }
    }
    told.stream().limit(MOST_TOLD).forEach(text -> warn(rule.ref(), "trafficPolicy", text));
  }

  /// Of one rule; a wildcard may match thousands.
  private static final int MOST_TOLD = 5;

  // ---- VirtualServices ---------------------------------------------------------------------

  private void routes(VirtualService virtual) {
    for (VirtualService.Tls route : virtual.tls()) {
      if (route.match().stream().anyMatch(m -> forMesh(m.source()))) {
        route.route().forEach(w -> destination(virtual, "tls", w.destination()));
      }
    }
    for (VirtualService.Tcp route : virtual.tcp()) {
      if (route.match().isEmpty() || route.match().stream().anyMatch(m -> forMesh(m.source()))) {
        route.route().forEach(w -> destination(virtual, "tcp", w.destination()));
      }
    }
    for (VirtualService.Http route : virtual.http()) {
      if (route.match().isEmpty() || route.match().stream().anyMatch(m -> forMesh(m.source()))) {
        route.route().forEach(w -> destination(virtual, "http", w.destination()));
      }
    }
    for (HostScope host : virtual.hosts()) {
      hosts(virtual, host);
    }
  }

  private static boolean forMesh(VirtualService.Source source) {
    return source.gateways().isEmpty() || source.gateways().contains(VirtualService.MESH);
  }

  private void hosts(VirtualService virtual, HostScope host) {
    boolean served = services.keySet().stream().anyMatch(host::overlaps);
    if (served) {
      return;
    }
    boolean http = !virtual.http().isEmpty();
    if (!virtual.tls().isEmpty() || !virtual.tcp().isEmpty() || !http) {
      warn(
          virtual.ref(),
          "hosts",
          "no ServiceEntry or Service has a name in common with "
              + host.show()
              + ", so its tls and tcp routes have no effect");
    } else {
      warn(
          virtual.ref(),
          "hosts",
          "no ServiceEntry or Service has a name in common with "
              + host.show()
              + ", so its routes hold on port 80 alone, and only where another HTTP host has it");
    }
  }

  private void destination(VirtualService virtual, String field, VirtualService.Destination to) {
    List<Service> found =
        HostScope.read(to.host(), virtual.namespace())
                instanceof HostScope.Read.Scope(HostScope host)
            ? services.getOrDefault(host, List.of())
            : List.of();
    if (found.isEmpty()) {
      warn(
          virtual.ref(),
          field,
          "leads to "
              + to.host()
              + ", and no ServiceEntry or Service has this host; what is routed there is refused"
              + " (cluster_not_found)");
      return;
    }
    if (to.port().isPresent()
        && found.stream().noneMatch(s -> s.port(to.port().get()).isPresent())) {
      warn(
          virtual.ref(),
          field,
          "leads to port "
              + to.port().get()
              + " of "
              + to.host()
              + ", which it does not have; what is routed there is refused (cluster_not_found)");
    }
    if (to.subset().isPresent() && !isSubset(found.getFirst().host(), to.subset().get())) {
      warn(
          virtual.ref(),
          field,
          "leads to the subset \""
              + to.subset().get()
              + "\" of "
              + to.host()
              + ", which no DestinationRule defines; what is routed there is refused"
              + " (cluster_not_found)");
    }
  }

  private boolean isSubset(HostPattern host, String name) {
    HostScope service = HostScope.of(host);
    return rules.stream()
        .filter(r -> r.host().contains(service))
        .anyMatch(r -> r.subsets().stream().anyMatch(s -> s.name().equals(name)));
  }
}
