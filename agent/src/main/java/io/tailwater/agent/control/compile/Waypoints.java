package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.Namespaces;
import io.tailwater.agent.control.istio.ServiceEntryReader;
import io.tailwater.agent.control.istio.Waypoint;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// Which Gateway an object is bound to by the labels of itself or of its namespace, as istiod has
/// it (`pilot/pkg/serviceregistry/ambient/waypoints.go`). Immutable.
///
/// An object's own label is the last word: what it names and cannot be used never falls back to the
/// namespace's.
final class Waypoints {
  /// Who made an object: what waypoints are made of has none itself.
  private static final String MANAGED = "gateway.istio.io/managed";

  private static final Set<String> MANAGERS =
      Set.of("istio.io-mesh-controller", "istio.io-eastwest-controller");
  private static final String USE_WAYPOINT_NAMESPACE = "istio.io/use-waypoint-namespace";

  /// What an object's labels come to.
  sealed interface Binding {
    /// It is not bound.
    record Unbound() implements Binding {}

    /// Its connections go to the Gateway.
    record Bound(Waypoint waypoint) implements Binding {}

    /// It is bound to what cannot be used; `why` is a clause for people.
    record Unavailable(String why) implements Binding {}
  }

  private static final Binding UNBOUND = new Binding.Unbound();

  private final Map<String, Waypoint> byName = new HashMap<>();
  private final Map<String, Waypoint.Serves> classes;
  private final Namespaces namespaces;

  /// @param classes what GatewayClasses say that their Gateways serve, by name
  Waypoints(List<Waypoint> gateways, Map<String, Waypoint.Serves> classes, Namespaces namespaces) {
    for (Waypoint gateway : gateways) {
      byName.put(gateway.name(), gateway);
    }
    this.classes = Map.copyOf(classes);
    this.namespaces = namespaces;
  }

  /// For a ServiceEntry: what cannot be used refuses its connections, they never go around it.
  Binding ofEntry(ResourceRef ref, Map<String, String> labels) {
    return binding(ref.namespace(), labels, true);
  }

  /// For a Kubernetes Service. The caller lets a waypoint that cannot be used count as none, as
  /// Istio does.
  Binding ofService(ResourceRef ref, Map<String, String> labels) {
    return MANAGERS.contains(labels.getOrDefault(MANAGED, ""))
        ? UNBOUND
        : binding(ref.namespace(), labels, true);
  }

  /// For a Pod or WorkloadEntry, as [#ofService].
  Binding ofWorkload(ResourceRef ref, Map<String, String> labels) {
    return MANAGERS.contains(labels.getOrDefault(MANAGED, ""))
        ? UNBOUND
        : binding(ref.namespace(), labels, false);
  }

  private Binding binding(String namespace, Map<String, String> labels, boolean service) {
    Optional<String> own = label(labels);
    Map<String, String> inherited = namespaces.labels(namespace);
    Map<String, String> from = own.isPresent() ? labels : inherited;
    Optional<String> named = own.isPresent() ? own : label(inherited);
    if (named.isEmpty() || named.get().toLowerCase(Locale.ROOT).equals("none")) {
      return UNBOUND;
    }
    String name = from.getOrDefault(USE_WAYPOINT_NAMESPACE, namespace) + "/" + named.get();
    String by =
        "the label "
            + ServiceEntryReader.USE_WAYPOINT
            + (own.isPresent() ? "" : " of its namespace")
            + " names the Gateway "
            + name;
    @Nullable Waypoint waypoint = byName.get(name);
    if (waypoint == null) {
      return new Binding.Unavailable(by + ", which does not exist");
    }
    if (!waypoint.ready()) {
      return new Binding.Unavailable(by + ", which has no addresses in its status yet");
    }
    if (!waypoint.admits(namespace, inherited)) {
      return new Binding.Unavailable(by + ", whose allowedRoutes do not admit " + namespace);
    }
    Waypoint.Serves serves = serves(waypoint);
    if (service ? serves.services() : serves.workloads()) {
      return new Binding.Bound(waypoint);
    }
    return own.isEmpty()
        ? UNBOUND
        : new Binding.Unavailable(
            by + ", which is not for " + (service ? "services" : "workloads"));
  }

  private Waypoint.Serves serves(Waypoint waypoint) {
    return waypoint
        .serves()
        .orElseGet(() -> classes.getOrDefault(waypoint.gatewayClass(), Waypoint.Serves.SERVICE));
  }

  /// Whether the labels of an object name a waypoint, or that it has none.
  static boolean labelled(Map<String, String> labels) {
    return label(labels).isPresent();
  }

  /// An empty label says nothing.
  private static Optional<String> label(Map<String, String> labels) {
    return Optional.ofNullable(labels.get(ServiceEntryReader.USE_WAYPOINT))
        .filter(l -> !l.isEmpty());
  }
}
