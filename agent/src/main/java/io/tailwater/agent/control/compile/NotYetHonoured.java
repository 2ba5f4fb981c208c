package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.control.istio.Visibility;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.control.source.YamlValue;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

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
          Map.entry(ISTIO + "/Sidecar", ""),
          Map.entry(ISTIO + "/DestinationRule", ""),
          Map.entry(ISTIO + "/VirtualService", ""),
          Map.entry(ISTIO + "/WorkloadEntry", ""),
          Map.entry("/Service", ""),
          Map.entry(
              ISTIO + "/Gateway",
              "is not honoured yet: it configures gateways; nothing on this node changes"),
          Map.entry(GATEWAY_API + "/Gateway", ""),
          Map.entry(GATEWAY_API + "/GatewayClass", ""),
          Map.entry(
              SECURITY + "/PeerAuthentication",
              "is not honoured yet: no policy applies to inbound connections"),
          Map.entry(
              SECURITY + "/AuthorizationPolicy",
              "is not honoured yet: no policy applies to inbound connections"),
          Map.entry("/ConfigMap", ""));

  private record Rule(ResourceRef ref, Hosts host, Visibility visibility) {}

  private record Routes(ResourceRef ref, List<Hosts> hosts, Visibility visibility) {}

  private final String rootNamespace;
  private final List<Rule> rules = new ArrayList<>();
  private final List<Routes> routes = new ArrayList<>();

  private NotYetHonoured(String rootNamespace) {
    this.rootNamespace = rootNamespace;
  }

  /// @param understood the rules that are in force and need no lenient reading
  static NotYetHonoured read(
      ResourceSet set, MeshSettings mesh, Set<ResourceRef> understood, List<Problem> problems) {
    NotYetHonoured out = new NotYetHonoured(mesh.rootNamespace());
    for (KubeObject object : set.all()) {
      if (!understood.contains(object.key().ref())) {
        out.add(object, mesh, problems);
      }
    }
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
      problems.add(Problem.of(Problem.Severity.WARNING, object, says));
    }
    YamlValue.Mapping spec = object.spec().orElse(EMPTY);
    ResourceRef ref = object.key().ref();
    switch (kind(object)) {
      case ISTIO + "/DestinationRule" -> {
        if (spec.get("trafficPolicy").isPresent()) {
          Hosts host = spec.text("host").map(Hosts::of).orElse(Hosts.ALL);
          rules.add(new Rule(ref, host, exported(object, spec)));
        }
      }
      case ISTIO + "/VirtualService" -> {
        List<String> gateways = texts(spec, "gateways").orElse(List.of());
        boolean mine = gateways.isEmpty() || gateways.contains("mesh");
        if (mine) {
          List<String> hosts = texts(spec, "hosts").orElse(List.of());
          routes.add(
              new Routes(
                  ref,
                  hosts.isEmpty() ? List.of(Hosts.ALL) : hosts.stream().map(Hosts::of).toList(),
                  exported(object, spec)));
        }
      }
      default -> {}
    }
  }

  private static final YamlValue.Mapping EMPTY =
      new YamlValue.Mapping(0, new java.util.LinkedHashMap<>());

  private static Visibility exported(KubeObject object, YamlValue.Mapping spec) {
    List<String> to = texts(spec, "exportTo").orElse(List.of());
    return Visibility.of(to, object.namespace(), List.of("*"));
  }

  /// A list of texts, none where there is nothing; empty where something is no text, so that half a
  /// list is never taken for the whole.
  private static Optional<List<String>> texts(YamlValue.Mapping map, String key) {
    List<String> out = new ArrayList<>();
    for (YamlValue item : map.items(key)) {
      if (!(item instanceof YamlValue.Scalar scalar) || item.isNull()) {
        return Optional.empty();
      }
      out.add(scalar.text());
    }
    boolean readable = map.get(key).map(YamlValue.Sequence.class::isInstance).orElse(true);
    return readable ? Optional.of(out) : Optional.empty();
  }

  /// Whether no view differs from another on account of these.
  boolean sameForAll() {
    return rules.isEmpty() && routes.isEmpty();
  }

  /// What would govern the connections of a namespace to a service.
  Optional<ResourceRef> governs(String clientNamespace, Service service) {
    for (Rule rule : rules) {
      boolean found =
          rule.ref.namespace().equals(clientNamespace)
              || ((rule.ref.namespace().equals(service.namespace())
                      || rule.ref.namespace().equals(rootNamespace))
                  && rule.visibility.covers(clientNamespace));
      if (found && rule.host.contain(service.host())) {
        return Optional.of(rule.ref);
      }
    }
    for (Routes route : routes) {
      if (route.visibility.covers(clientNamespace)
          && route.hosts.stream().anyMatch(h -> h.overlap(service.host()))) {
        return Optional.of(route.ref);
      }
    }
    return Optional.empty();
  }

  /// The names that a resource is about: the one name `text`, or with `below` every longer one that
  /// ends with it, which also is how Istio reads a wildcard that begins inside a label
  /// (`*example.com`).
  private record Hosts(String text, boolean below) {
    /// Every name.
    static final Hosts ALL = new Hosts("", true);

    /// What cannot be read is about every name.
    static Hosts of(String host) {
      boolean below = host.startsWith("*");
      // The letter stands for what a wildcard leaves out of its first label.
      String whole = below ? "x" + host.substring(1) : host;
      return HostName.parse(whole) instanceof HostName.Parsed.Valid(HostName name, _)
          ? new Hosts(name.text().substring(below ? 1 : 0), below)
          : ALL;
    }

    private static Hosts of(HostPattern host) {
      return switch (host) {
        case HostPattern.Exact(HostName name) -> new Hosts(name.text(), false);
        case HostPattern.Wildcard(HostName suffix) -> new Hosts("." + suffix.text(), true);
      };
    }

    /// Whether every name of `inner` is among these.
    boolean contain(HostPattern inner) {
      return contain(of(inner));
    }

    private boolean contain(Hosts inner) {
      return below
          ? inner.text.endsWith(text) && (inner.below || inner.text.length() > text.length())
          : equals(inner);
    }

    /// Whether a name of `other` is among these.
    boolean overlap(HostPattern other) {
      Hosts hosts = of(other);
      return contain(hosts) || hosts.contain(this);
    }
  }
}
