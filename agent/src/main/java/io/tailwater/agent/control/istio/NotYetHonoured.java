package io.tailwater.agent.control.istio;

import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.control.source.YamlValue;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// The resources that are understood by name only: which traffic each of them would govern, so that
/// it is refused under REGISTRY_ONLY instead of being handled as if they were not there. Reads
/// leniently: what cannot be read of them governs more, not less. Immutable.
final class NotYetHonoured {
  private static final String ISTIO = "networking.istio.io";
  private static final String SECURITY = "security.istio.io";
  private static final String GATEWAY_API = "gateway.networking.k8s.io";

  /// What `check` says of a kind, by group and kind; an empty text says nothing.
  static final Map<String, String> KINDS =
      Map.ofEntries(
          Map.entry(ISTIO + "/ServiceEntry", ""),
          Map.entry("/Namespace", ""),
          Map.entry("/Pod", ""),
          Map.entry("/Secret", ""),
          Map.entry("discovery.k8s.io/EndpointSlice", ""),
          Map.entry(
              ISTIO + "/Sidecar",
              "is not honoured yet: under REGISTRY_ONLY every connection of the pods that it"
                  + " selects is refused (not_supported_yet or connection_closed)"),
          Map.entry(
              ISTIO + "/DestinationRule",
              "is not honoured yet: under REGISTRY_ONLY connections to the hosts that its"
                  + " trafficPolicy covers are refused (not_supported_yet)"),
          Map.entry(
              ISTIO + "/VirtualService",
              "is not honoured yet: under REGISTRY_ONLY connections to its hosts that its tls or"
                  + " tcp routes could take are refused (not_supported_yet)"),
          Map.entry(
              ISTIO + "/WorkloadEntry",
              "is not honoured yet: under REGISTRY_ONLY connections to its address are refused"
                  + " (not_supported_yet)"),
          Map.entry(
              "/Service",
              "is not honoured yet: under REGISTRY_ONLY connections to its addresses are refused"
                  + " (not_supported_yet)"),
          Map.entry(
              ISTIO + "/Gateway",
              "is not honoured yet: it configures gateways; nothing on this node changes"),
          Map.entry(
              GATEWAY_API + "/Gateway",
              "is not honoured yet: no waypoint is used; entries bound to one are refused under"
                  + " REGISTRY_ONLY (not_supported_yet)"),
          Map.entry(
              SECURITY + "/PeerAuthentication",
              "is not honoured yet: inbound connections are not captured"),
          Map.entry(
              SECURITY + "/AuthorizationPolicy",
              "is not honoured yet: inbound connections are not captured"),
          Map.entry("/ConfigMap", ""));

  private record Rule(ResourceRef ref, String host, Visibility visibility) {}

  private record Routes(ResourceRef ref, List<String> hosts, Visibility visibility) {}

  private record Scope(
      KubeObject object, Map<String, String> selector, boolean hasSelector, boolean registryOnly) {}

  /// A Sidecar that is selected for a pod. `registryOnly` is what it says itself.
  record Selected(ResourceRef ref, boolean registryOnly) {}

  private final String rootNamespace;
  private final List<Rule> rules = new ArrayList<>();
  private final List<Routes> routes = new ArrayList<>();
  private final List<Scope> sidecars = new ArrayList<>();
  private final Map<InetAddress, ResourceRef> addresses = new HashMap<>();

  private NotYetHonoured(String rootNamespace) {
    this.rootNamespace = rootNamespace;
  }

  static NotYetHonoured read(ResourceSet set, MeshSettings mesh, List<Problem> problems) {
    NotYetHonoured out = new NotYetHonoured(mesh.rootNamespace());
    for (KubeObject object : set.all()) {
      out.add(object, mesh, problems);
    }
    out.sidecars.sort(
        Comparator.comparing((Scope s) -> s.object.age()).thenComparing(s -> s.object.name()));
    for (String kind : set.kinds()) {
      if (!KINDS.containsKey(kind)) {
        KubeObject first =
            set.all().stream().filter(o -> kind(o).equals(kind)).findFirst().orElseThrow();
        problems.add(
            new Problem(
                Problem.Severity.WARNING,
                first.file(),
                first.line(),
                Optional.of(first.key().ref()),
                "kind",
                "is ignored, as is every other object of this kind: "
                    + kind
                    + " is not a kind that is understood"));
      }
    }
    return out;
  }

  private static String kind(KubeObject object) {
    return object.key().group() + "/" + object.kind();
  }

  private void add(KubeObject object, MeshSettings mesh, List<Problem> problems) {
    String says = KINDS.getOrDefault(kind(object), "");
    if (kind(object).equals("/ConfigMap")
        && object.name().equals("istio")
        && object.namespace().equals(mesh.rootNamespace())) {
      says = "is not honoured yet: mesh settings come from the agent's own configuration";
    }
    if (!says.isEmpty()) {
      problems.add(
          new Problem(
              Problem.Severity.WARNING,
              object.file(),
              object.line(),
              Optional.of(object.key().ref()),
              "",
              says));
    }
    YamlValue.Mapping spec = object.spec().orElse(EMPTY);
    ResourceRef ref = object.key().ref();
    switch (kind(object)) {
      case ISTIO + "/DestinationRule" -> {
        if (spec.mapping("trafficPolicy").isPresent()) {
          rules.add(new Rule(ref, spec.text("host").orElse("*"), exported(object, spec)));
        }
      }
      case ISTIO + "/VirtualService" -> {
        List<String> gateways = texts(spec, "gateways");
        boolean mine = gateways.isEmpty() || gateways.contains("mesh");
        boolean other = !spec.items("tls").isEmpty() || !spec.items("tcp").isEmpty();
        if (mine && other) {
          List<String> hosts = texts(spec, "hosts");
          // Without hosts it is no valid one, and what it was meant for is unknown: all.
          routes.add(
              new Routes(ref, hosts.isEmpty() ? List.of("*") : hosts, exported(object, spec)));
        }
      }
      case ISTIO + "/Sidecar" -> sidecars.add(scope(object, spec));
      case ISTIO + "/WorkloadEntry" -> address(spec.text("address"), ref);
      case "/Service" -> {
        address(spec.text("clusterIP"), ref);
        texts(spec, "clusterIPs").forEach(ip -> address(Optional.of(ip), ref));
      }
      case "/Pod" -> {
        YamlValue.Mapping status = object.root().mapping("status").orElse(EMPTY);
        address(status.text("podIP"), ref);
        for (YamlValue item : status.items("podIPs")) {
          if (item instanceof YamlValue.Mapping mapping) {
            address(mapping.text("ip"), ref);
          }
        }
      }
      default -> {}
    }
  }

  private static final YamlValue.Mapping EMPTY =
      new YamlValue.Mapping(0, new java.util.LinkedHashMap<>());

  private static Visibility exported(KubeObject object, YamlValue.Mapping spec) {
    return Visibility.of(texts(spec, "exportTo"), object.namespace(), List.of("*"));
  }

  private static List<String> texts(YamlValue.Mapping map, String key) {
    List<String> out = new ArrayList<>();
    for (YamlValue item : map.items(key)) {
      if (item instanceof YamlValue.Scalar scalar) {
        out.add(scalar.text());
      }
    }
    return out;
  }

  private static Scope scope(KubeObject object, YamlValue.Mapping spec) {
    Optional<YamlValue.Mapping> selector = spec.mapping("workloadSelector");
    Map<String, String> labels = selector.map(s -> s.texts("labels")).orElse(Map.of());
    boolean registryOnly =
        spec.mapping("outboundTrafficPolicy")
            .map(p -> !p.text("mode").orElse("REGISTRY_ONLY").equals("ALLOW_ANY"))
            .orElse(false);
    return new Scope(object, labels, !labels.isEmpty(), registryOnly);
  }

  private void address(Optional<String> text, ResourceRef ref) {
    text.flatMap(CidrBlock::parseAddress).ifPresent(a -> addresses.putIfAbsent(a, ref));
  }

  /// Addresses that belong to something of the cluster.
  Map<InetAddress, ResourceRef> addresses() {
    return addresses;
  }

  /// Whether no view differs from another on account of these.
  boolean sameForAll() {
    return rules.isEmpty() && routes.isEmpty();
  }

  /// The Sidecar that is selected for a pod: by labels before its namespace's before the root
  /// namespace's, the oldest first.
  Optional<Selected> sidecar(Pod pod) {
    Optional<Scope> found =
        sidecars.stream()
            .filter(s -> s.object.namespace().equals(pod.namespace()) && s.hasSelector)
            .filter(s -> pod.labels().entrySet().containsAll(s.selector.entrySet()))
            .findFirst()
            .or(() -> withoutSelector(pod.namespace()))
            .or(() -> withoutSelector(rootNamespace));
    return found.map(s -> new Selected(s.object.key().ref(), s.registryOnly));
  }

  private Optional<Scope> withoutSelector(String namespace) {
    return sidecars.stream()
        .filter(s -> s.object.namespace().equals(namespace) && !s.hasSelector)
        .findFirst();
  }

  /// What would govern the connections of a namespace to a service.
  Optional<ResourceRef> governs(String clientNamespace, Service service) {
    for (Rule rule : rules) {
      boolean found =
          rule.ref.namespace().equals(clientNamespace)
              || ((rule.ref.namespace().equals(service.namespace())
                      || rule.ref.namespace().equals(rootNamespace))
                  && rule.visibility.covers(clientNamespace));
      if (found && contains(rule.host, service.host())) {
        return Optional.of(rule.ref);
      }
    }
    for (Routes route : routes) {
      if (route.visibility.covers(clientNamespace)
          && route.hosts.stream().anyMatch(h -> overlaps(h, service.host()))) {
        return Optional.of(route.ref);
      }
    }
    return Optional.empty();
  }

  /// Whether every name of the service's host is one of `host` too.
  private static boolean contains(String host, HostPattern inner) {
    if (host.equals("*")) {
      return true;
    }
    return parse(host).map(outer -> contains(outer, inner)).orElse(true); // unreadable: all
  }

  private static boolean contains(HostPattern outer, HostPattern inner) {
    return switch (inner) {
      case HostPattern.Exact(HostName name) -> outer.covers(name);
      case HostPattern.Wildcard(HostName suffix) ->
          outer instanceof HostPattern.Wildcard(HostName wide)
              && (wide.equals(suffix) || outer.covers(suffix));
    };
  }

  private static boolean overlaps(String host, HostPattern other) {
    return host.equals("*")
        // What cannot be read may mean anything: it governs more, never less.
        || parse(host).map(h -> contains(h, other) || contains(other, h)).orElse(true);
  }

  private static Optional<HostPattern> parse(String host) {
    boolean wildcard = host.startsWith("*.");
    return HostName.parse(wildcard ? host.substring(2) : host)
            instanceof HostName.Parsed.Valid(HostName name, _)
        ? Optional.of(wildcard ? new HostPattern.Wildcard(name) : new HostPattern.Exact(name))
        : Optional.empty();
  }
}
