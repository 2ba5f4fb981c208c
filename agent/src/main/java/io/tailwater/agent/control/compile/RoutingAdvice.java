package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.DestinationRule;
import io.tailwater.agent.control.istio.HostScope;
import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.control.istio.ServiceEntry;
import io.tailwater.agent.control.istio.VirtualService;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Nearest;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.ResourceKey;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.control.source.YamlValue;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/// What `check` says of DestinationRules and VirtualServices that Istio accepts and that do not do
/// what they seem to: those that match nothing, and those that lead nowhere. Pure; one use.
final class RoutingAdvice {
  private static final String ISTIO = "networking.istio.io";

  /// The hosts of Kubernetes' Services.
  static final HostScope CLUSTER = new HostScope(".svc.cluster.local", true);

  private final ResourceSet set;
  private final List<Service> services;
  private final List<DestinationRule> rules;
  private final String rootNamespace;

  /// Without any Service among the resources nothing can be said of Kubernetes' hosts: they live in
  /// a cluster that is not looked at.
  private final boolean kubernetesKnown;

  /// Hosts of entries that have errors: what is said of those is enough.
  private final List<HostScope> broken = new ArrayList<>();

  private final List<Problem> problems = new ArrayList<>();

  private RoutingAdvice(Advice.About about) {
    this.set = about.set();
    this.services = about.services().stream().filter(s -> s.alias().isEmpty()).toList();
    this.rootNamespace = about.mesh().rootNamespace();
    this.rules = about.rules().stream().sorted(DestinationRules.AGE).toList();
    this.kubernetesKnown = !set.ofKind("", "Service").isEmpty();
    Set<ResourceRef> valid =
        about.entries().stream().map(ServiceEntry::ref).collect(Collectors.toSet());
    for (KubeObject entry : set.ofKind(ISTIO, "ServiceEntry")) {
      if (!valid.contains(entry.key().ref())) {
        for (YamlValue host : entry.spec().map(s -> s.items("hosts")).orElse(List.of())) {
          if (host instanceof YamlValue.Scalar(_, String text, _)
              && HostScope.read(text, "") instanceof HostScope.Read.Scope(HostScope scope)) {
            broken.add(scope);
          }
        }
      }
    }
  }

  /// All of it.
  static List<Problem> on(Advice.About about) {
    RoutingAdvice advice = new RoutingAdvice(about);
    for (DestinationRule rule : advice.rules) {
      advice.object("DestinationRule", rule.ref()).ifPresent(o -> advice.rule(rule, o));
    }
    for (VirtualService routes : about.routes()) {
      if (routes.isForMesh() && !routes.hosts().isEmpty()) {
        advice.object("VirtualService", routes.ref()).ifPresent(o -> advice.routes(routes, o));
      }
    }
    return List.copyOf(advice.problems);
  }

  private Optional<KubeObject> object(String kind, ResourceRef ref) {
    return set.get(new ResourceKey(ISTIO, kind, ref.namespace(), ref.name()));
  }

  private boolean unknowable(HostScope host) {
    return (!kubernetesKnown && host.overlaps(CLUSTER)) || broken.stream().anyMatch(host::overlaps);
  }

  private List<Service> services(Predicate<HostScope> which) {
    return services.stream().filter(s -> which.test(HostScope.of(s.host()))).toList();
  }

  private String nearestHost(HostScope host) {
    TreeSet<String> known = new TreeSet<>();
    services.forEach(s -> known.add(s.host().text()));
    return Nearest.hint(host.show(), known);
  }

  private static String ports(List<Service> some) {
    return some.stream()
        .flatMap(s -> s.ports().stream())
        .map(p -> p.number() + (p.protocol() == Protocol.UNSET ? "" : " " + p.protocol().text()))
        .distinct()
        .collect(Collectors.joining(", "));
  }

  // ---- DestinationRules --------------------------------------------------------------------

  private void rule(DestinationRule rule, KubeObject object) {
    HostScope host = rule.host();
    List<Service> matched = services(host::contains);
    if (matched.isEmpty()) {
      if (!unknowable(host)) {
        problems.add(Pointer.warning(object, matchesNothing(host, object), "spec", "host"));
      }
      return;
    }
    if (matched.stream().noneMatch(s -> counts(rule, s))) {
      problems.add(
          Pointer.warning(
              object,
              "has no effect: pods of "
                  + rule.namespace()
                  + " do not see "
                  + Problem.show(matched.getFirst().ref())
                  + " (exportTo: "
                  + matched.getFirst().visibility().show()
                  + "), and for others a rule counts in the namespace of the service alone, which"
                  + " is "
                  + matched.getFirst().namespace(),
              "metadata",
              "namespace"));
      return;
    }
    older(rule, object);
    portSettings(rule, matched, object);
    secondTls(rule, matched, object);
    balancing(rule, matched, object);
    subsets(rule, matched, object);
  }

  /// Whether some client may find the rule for the service: rules are looked up in the client's
  /// namespace, the service's and the root namespace.
  private boolean counts(DestinationRule rule, Service service) {
    return service.visibility().covers(rule.namespace())
        || service.namespace().equals(rule.namespace())
        || rule.namespace().equals(rootNamespace);
  }

  private String matchesNothing(HostScope host, KubeObject object) {
    List<Service> wider = services(s -> s.contains(host));
    String written = object.spec().flatMap(s -> s.text("host")).orElse(host.show());
    if (!wider.isEmpty()) {
      Service service = wider.getFirst();
      return "matches nothing: "
          + service.host().text()
          + " of "
          + Problem.show(service.ref())
          + " is one destination, and rules for single names below it are not found; write \""
          + service.host().text()
          + "\", or give the name a ServiceEntry of its own";
    }
    return "matches nothing: no service or ServiceEntry has the host "
        + host.show()
        + (written.equals(host.show()) ? "" : ", which \"" + written + "\" stands for")
        + nearestHost(host);
  }

  /// Of several rules for one host and the same clients the oldest `trafficPolicy` counts whole.
  private void older(DestinationRule rule, KubeObject object) {
    if (rule.trafficPolicy().isEmpty()) {
      return;
    }
    for (DestinationRule older : rules) {
      if (older.equals(rule)) {
        return;
      }
      boolean same =
          older.namespace().equals(rule.namespace())
              && older.host().equals(rule.host())
              && older.exportTo().equals(rule.exportTo())
              && older.workloadSelector().equals(rule.workloadSelector());
      if (same && older.trafficPolicy().isPresent()) {
        problems.add(
            Pointer.warning(
                object,
                "does not count: "
                    + Problem.show(older.ref())
                    + " is older and has one for the same host; write both as one",
                "spec",
                "trafficPolicy"));
        return;
      }
    }
  }

  private void portSettings(DestinationRule rule, List<Service> matched, KubeObject object) {
    for (int port : rule.trafficPolicy().map(p -> p.ports().keySet()).orElse(Set.of())) {
      if (matched.stream().allMatch(s -> s.port(port).isEmpty())) {
        problems.add(
            Pointer.warning(
                object,
                "port "
                    + port
                    + " is none of "
                    + rule.host().show()
                    + " (its ports: "
                    + ports(matched)
                    + "), so its settings have no effect",
                "spec",
                "trafficPolicy",
                "portLevelSettings"));
        return;
      }
    }
  }

  /// Originated TLS around the client's own.
  private void secondTls(DestinationRule rule, List<Service> matched, KubeObject object) {
    for (Service service : matched) {
      for (Service.Port port : service.ports()) {
        Optional<DestinationRule.Tls> tls =
            rule.trafficPolicy().flatMap(p -> p.of(port.number()).tls());
        if (port.protocol().family() != Protocol.Family.TLS
            || tls.isEmpty()
            || !isSecond(service, tls.get())) {
          continue;
        }
        boolean ofPort = rule.trafficPolicy().orElseThrow().ports().containsKey(port.number());
        problems.add(
            Pointer.warning(
                object,
                tls.get().mode()
                    + " puts the client's own TLS to port "
                    + port.number()
                    + " ("
                    + port.protocol().text()
                    + ") of "
                    + service.host().text()
                    + " into a second TLS, whose server name and certificate do not follow the"
                    + " requested name. Remove tls; or, if clients send plaintext, give the port of"
                    + " "
                    + Problem.show(service.ref())
                    + " the protocol HTTP",
                "spec",
                "trafficPolicy",
                ofPort ? "portLevelSettings" : "tls"));
        return;
      }
    }
  }

  /// TLS around TLS is how an egress gateway is reached, and who names the server means it.
  private static boolean isSecond(Service service, DestinationRule.Tls tls) {
    return switch (tls.mode()) {
      case DISABLE -> false;
      case ISTIO_MUTUAL -> !service.kubernetes();
      case SIMPLE, MUTUAL -> tls.sni().isEmpty();
    };
  }

  private static List<Backend.Source> sources(List<Service> some) {
    return some.stream().flatMap(s -> s.ports().stream()).map(p -> p.backend().source()).toList();
  }

  private static boolean isDynamic(List<Service> some) {
    List<Backend.Source> sources = sources(some);
    return !sources.isEmpty() && sources.stream().allMatch(Backend.Source.ByName.class::isInstance);
  }

  /// Where each name has addresses of its own there is nothing to choose between.
  private void balancing(DestinationRule rule, List<Service> matched, KubeObject object) {
    if (rule.trafficPolicy().isEmpty() || !isDynamic(matched)) {
      return;
    }
    DestinationRule.Settings settings = rule.trafficPolicy().get().settings();
    String why =
        "has no effect on a host with resolution DYNAMIC_DNS: each name goes to what it"
            + " resolves to. Leave it out";
    if (settings.outlier().isPresent()) {
      problems.add(Pointer.warning(object, why, "spec", "trafficPolicy", "outlierDetection"));
    }
    if (settings.balancer().isPresent()) {
      problems.add(Pointer.warning(object, why, "spec", "trafficPolicy", "loadBalancer"));
    }
  }

  private void subsets(DestinationRule rule, List<Service> matched, KubeObject object) {
    if (rule.subsets().isEmpty()) {
      return;
    }
    List<Backend.Source> sources = sources(matched);
    if (isDynamic(matched)) {
      problems.add(
          Pointer.warning(
              object,
              "a host with resolution DYNAMIC_DNS has no subsets, as in Istio: a route to one is"
                  + " refused (cluster_not_found)",
              "spec",
              "subsets"));
      return;
    }
    List<Map<String, String>> labels = new ArrayList<>();
    for (Backend.Source source : sources) {
      if (source instanceof Backend.Source.Endpoints(List<Backend.Labelled> endpoints, _)) {
        endpoints.forEach(e -> labels.add(e.labels()));
      }
    }
    if (labels.isEmpty()) {
      return;
    }
    for (int i = 0; i < rule.subsets().size(); i++) {
      Map<String, String> wanted = rule.subsets().get(i).labels();
      if (labels.stream().noneMatch(l -> l.entrySet().containsAll(wanted.entrySet()))) {
        problems.add(
            Pointer.warning(
                object,
                "selects no endpoint of "
                    + rule.host().show()
                    + ": none has the labels "
                    + show(wanted)
                    + "; connections to this subset are refused (no_healthy_upstream)",
                "spec",
                "subsets",
                i));
      }
    }
  }

  private static String show(Map<String, String> labels) {
    return labels.entrySet().stream()
        .map(e -> e.getKey() + "=" + e.getValue())
        .sorted()
        .collect(Collectors.joining(", "));
  }

  // ---- VirtualServices ---------------------------------------------------------------------

  private void routes(VirtualService routes, KubeObject object) {
    List<Service> attached = services(s -> routes.hosts().stream().anyMatch(s::overlaps));
    if (attached.isEmpty()) {
      if (routes.hosts().stream().noneMatch(this::unknowable)) {
        attachesToNothing(routes, object);
      }
    } else {
      takesNothing(routes, attached, object);
    }
    destinations(object);
  }

  private void attachesToNothing(VirtualService routes, KubeObject object) {
    String hosts = routes.hosts().stream().map(HostScope::show).collect(Collectors.joining(", "));
    problems.add(
        Pointer.warning(
            object,
            "attaches to nothing: no service or ServiceEntry has a name in common with "
                + hosts
                + nearestHost(routes.hosts().getFirst())
                + "; add a ServiceEntry for it"
                + (routes.http().isEmpty()
                    ? ""
                    : ". Its http routes take nothing but requests to port 80, as in Istio"),
            "spec",
            "hosts"));
  }

  /// Routes for what none of the ports speaks.
  private void takesNothing(VirtualService routes, List<Service> attached, KubeObject object) {
    if (!routes.http().isEmpty() && !speaks(attached, Protocol.Family.HTTP)) {
      problems.add(
          Pointer.warning(
              object,
              "takes nothing: no port of "
                  + names(attached)
                  + " speaks plaintext HTTP (its ports: "
                  + ports(attached)
                  + "). What is inside TLS is not seen; write tls routes with sniHosts",
              "spec",
              "http"));
    } else if (!routes.tls().isEmpty() && !speaks(attached, Protocol.Family.TLS)) {
      problems.add(
          Pointer.warning(
              object,
              "takes nothing: no port of "
                  + names(attached)
                  + " is TLS or HTTPS (its ports: "
                  + ports(attached)
                  + ")",
              "spec",
              "tls"));
    }
  }

  private static String names(List<Service> some) {
    return some.stream().map(s -> s.host().text()).distinct().collect(Collectors.joining(", "));
  }

  private static boolean speaks(List<Service> some, Protocol.Family family) {
    return some.stream()
        .flatMap(s -> s.ports().stream())
        .anyMatch(
            p -> p.protocol().family() == family || p.protocol().family() == Protocol.Family.UNSET);
  }

  private void destinations(KubeObject object) {
    YamlValue.Mapping spec = object.spec().orElseThrow();
    for (String kind : List.of("http", "tls", "tcp")) {
      List<YamlValue> written = spec.items(kind);
      for (int i = 0; i < written.size(); i++) {
        List<YamlValue> to =
            written.get(i) instanceof YamlValue.Mapping route && isForMesh(route)
                ? route.items("route")
                : List.of();
        for (int j = 0; j < to.size(); j++) {
          if (to.get(j) instanceof YamlValue.Mapping weighted) {
            Object[] path = {"spec", kind, i, "route", j, "destination"};
            weighted
                .mapping("destination")
                .ifPresent(destination -> destination(destination, object, path));
          }
        }
      }
    }
  }

  /// Whether pods may take a route, or gateways alone.
  private static boolean isForMesh(YamlValue.Mapping route) {
    List<YamlValue> matches = route.items("match");
    return matches.isEmpty()
        || matches.stream()
            .anyMatch(m ->
                m instanceof YamlValue.Mapping match
                    && (match.items("gateways").isEmpty()
                        || match.items("gateways").stream()
                            .anyMatch(g ->
                                g instanceof YamlValue.Scalar(_, String name, _)
                                    && name.equals(VirtualService.MESH))));
  }

  private void destination(YamlValue.Mapping destination, KubeObject object, Object[] path) {
    String written = destination.text("host").orElse("");
    if (!(HostScope.read(written, object.namespace())
        instanceof HostScope.Read.Scope(HostScope host))) {
      return;
    }
    List<Service> found = services(host::equals);
    if (found.isEmpty()) {
      if (!unknowable(host)) {
        problems.add(Pointer.warning(object, leadsNowhere(host, written), and(path, "host")));
      }
      return;
    }
    Optional<Integer> port =
        destination
            .mapping("port")
            .flatMap(p -> p.text("number"))
            .filter(n -> n.matches("[0-9]{1,5}"))
            .map(Integer::parseInt);
    if (port.isPresent() && found.stream().allMatch(s -> s.port(port.get()).isEmpty())) {
      problems.add(
          Pointer.warning(
              object,
              "port "
                  + port.get()
                  + " is none of "
                  + host.show()
                  + " (its ports: "
                  + ports(found)
                  + "); what the route takes is refused (cluster_not_found)",
              and(path, "port")));
    }
    Optional<String> subset = destination.text("subset").filter(s -> !s.isEmpty());
    if (subset.isPresent() && !isSubset(host, subset.get())) {
      TreeSet<String> known = new TreeSet<>();
      of(host).forEach(r -> r.subsets().forEach(s -> known.add(s.name())));
      problems.add(
          Pointer.warning(
              object,
              "no DestinationRule for "
                  + host.show()
                  + " has a subset \""
                  + subset.get()
                  + "\"; what the route takes is refused (cluster_not_found)"
                  + Nearest.hint(subset.get(), known),
              and(path, "subset")));
    }
  }

  private List<DestinationRule> of(HostScope host) {
    return rules.stream().filter(r -> r.host().contains(host)).toList();
  }

  private boolean isSubset(HostScope host, String name) {
    return of(host).stream()
        .anyMatch(r -> r.subsets().stream().anyMatch(s -> s.name().equals(name)));
  }

  private static Object[] and(Object[] path, String last) {
    Object[] out = java.util.Arrays.copyOf(path, path.length + 1);
    out[path.length] = last;
    return out;
  }

  private String leadsNowhere(HostScope host, String written) {
    List<Service> wider = services(s -> s.contains(host));
    String refused = "; what the route takes is refused (cluster_not_found)";
    if (!wider.isEmpty()) {
      Service service = wider.getFirst();
      return "\""
          + written
          + "\" is one name below "
          + service.host().text()
          + " of "
          + Problem.show(service.ref())
          + ", and no destination by itself: give it a ServiceEntry of its own, or write \""
          + service.host().text()
          + "\""
          + refused;
    }
    return "does not exist: no service or ServiceEntry has the host "
        + host.show()
        + (written.equals(host.show()) ? "" : ", which \"" + written + "\" stands for")
        + nearestHost(host)
        + refused;
  }
}
