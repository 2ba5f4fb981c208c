package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.HostScope;
import io.tailwater.agent.control.istio.Sidecar;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.ResourceKey;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.control.source.YamlValue;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// What Istio accepts and hardly anybody means: imports that import nothing, entries that their own
/// namespace does not see, waypoints that cannot be used. Pure; one use.
final class ClusterWarnings {
  private static final String ISTIO = "networking.istio.io";

  private final ResourceSet set;
  private final ClusterResources.Read around;
  private final List<Service> services;
  private final List<Problem> problems;
  private final Map<String, List<Service>> byNamespace = new HashMap<>();

  /// Without any Service among the resources the services of Kubernetes are not known, and
  /// `istio-system/*`, which is usual, may import them. `./*` is written before there is one.
  private final boolean kubernetesKnown;

  private ClusterWarnings(
      ResourceSet set,
      ClusterResources.Read around,
      List<Service> services,
      List<Problem> problems) {
    this.set = set;
    this.around = around;
    this.services = services;
    this.problems = problems;
    this.kubernetesKnown = !set.ofKind("", "Service").isEmpty();
    for (Service service : services) {
      byNamespace.computeIfAbsent(service.namespace(), _ -> new ArrayList<>()).add(service);
    }
  }

  static void add(
      ResourceSet set,
      ClusterResources.Read around,
      List<Service> services,
      List<Problem> problems) {
    ClusterWarnings warnings = new ClusterWarnings(set, around, services, problems);
    around.sidecars().all().forEach(warnings::imports);
    warnings.services();
    warnings.byNamespace.forEach(warnings::hidden);
    warnings.workloads();
  }

  private void warn(String group, ResourceRef ref, String message) {
    set.get(new ResourceKey(group, ref.kind(), ref.namespace(), ref.name()))
        .ifPresent(o -> problems.add(Problem.of(Problem.Severity.WARNING, o, message)));
  }

  // ---- Sidecars ----------------------------------------------------------------------------

  /// Hosts of a Sidecar that import no service and no VirtualService. Those of the root namespace
  /// are for namespaces that may not be there yet.
  private void imports(Sidecar sidecar) {
    ResourceKey key = new ResourceKey(ISTIO, "Sidecar", sidecar.namespace(), sidecar.ref().name());
    Optional<KubeObject> object = set.get(key);
    if (object.isEmpty()) {
      return;
    }
    List<YamlValue> written = object.get().spec().map(s -> s.items("egress")).orElse(List.of());
    for (int i = 0; i < Math.min(sidecar.egress().size(), written.size()); i++) {
      List<YamlValue> hosts =
          written.get(i) instanceof YamlValue.Mapping m ? m.items("hosts") : List.of();
      List<Sidecar.Import> items = sidecar.egress().get(i).hosts();
      for (int j = 0; j < Math.min(items.size(), hosts.size()); j++) {
        Optional<String> why = importsNothing(sidecar, items.get(j));
        if (why.isPresent()) {
          problems.add(
              new Problem(
                  Problem.Severity.WARNING,
                  object.get().file(),
                  hosts.get(j).line(),
                  Optional.of(sidecar.ref()),
                  "spec.egress[" + i + "].hosts[" + j + "]",
                  why.get()));
        }
      }
    }
  }

  private Optional<String> importsNothing(Sidecar sidecar, Sidecar.Import item) {
    boolean forAll = sidecar.namespace().equals(around.sidecars().rootNamespace());
    if (item.excludes() || item.namespace().equals("~") || forAll) {
      return Optional.empty();
    }
    String client = sidecar.namespace();
    Optional<Service> hidden = Optional.empty();
    Optional<Service> wider = Optional.empty();
    HostScope names = item.host().map(HostScope::of).orElse(HostScope.ALL);
    List<Service> candidates =
        item.namespace().equals("*")
            ? services
            : byNamespace.getOrDefault(
                item.namespace().equals(".") ? client : item.namespace(), List.of());
    for (Service service : candidates) {
      if (item.contains(service.host())) {
        if (service.visibility().covers(client)) {
          return Optional.empty();
        }
        hidden = hidden.or(() -> Optional.of(service));
      } else if (HostScope.of(service.host()).contains(names)) {
        wider = wider.or(() -> Optional.of(service));
      }
    }
    if (hidden.isPresent()) {
      return Optional.of(
          "imports nothing: "
              + Problem.show(hidden.get().ref())
              + " is not exported to "
              + client
              + " (exportTo: "
              + hidden.get().visibility().show()
              + ")");
    }
    if (wider.isPresent()) {
      return Optional.of(
          "imports nothing: it is narrower than "
              + wider.get().host().text()
              + " of "
              + Problem.show(wider.get().ref())
              + "; a service is imported whole, so write that host");
    }
    boolean unknowable =
        names.overlaps(RoutingAdvice.CLUSTER)
            && (!kubernetesKnown || (item.host().isEmpty() && item.namespace().equals(".")));
    return unknowable
            || around.virtualServices().stream()
                .anyMatch(r -> importsRoutes(r, item, names, client))
        ? Optional.empty()
        : Optional.of("imports nothing: there is no such service");
  }

  private static boolean importsRoutes(
      SidecarScope.Routes routes, Sidecar.Import item, HostScope names, String client) {
    return item.about(routes.namespace(), client)
        && routes.visibility().covers(client)
        && routes.hosts().stream().anyMatch(names::overlaps);
  }

  // ---- services ----------------------------------------------------------------------------

  private void services() {
    Set<ResourceRef> told = new HashSet<>();
    for (Service service : services) {
      if (!told.add(service.ref())) {
        continue;
      }
      if (service.kubernetes()) {
        if (service.unusedWaypoint().isPresent()) {
          warn(
              "",
              service.ref(),
              service.unusedWaypoint().get() + "; its connections go without a waypoint");
        }
        continue;
      }
      if (!service.visibility().everyone() && service.visibility().namespaces().isEmpty()) {
        warn(ISTIO, service.ref(), "is exported to nobody, so nothing uses it");
      }
      if (service.binding() instanceof Waypoints.Binding.Unavailable(String why)) {
        warn(
            ISTIO,
            service.ref(),
            why + "; its connections are refused until it can be used (waypoint_unavailable)");
      }
    }
  }

  /// Entries that the pods of their own namespace do not see on account of the Sidecar that those
  /// without one of their own have.
  private void hidden(String namespace, List<Service> own) {
    Optional<Sidecar> general = around.sidecars().general(namespace);
    if (general.isEmpty()) {
      return;
    }
    List<Service> exported = own.stream().filter(s -> s.visibility().covers(namespace)).toList();
    Set<ResourceRef> seen = new HashSet<>();
    new SidecarScope(general.get(), namespace)
        .visible(exported, around.virtualServices())
        .forEach(s -> seen.add(s.ref()));
    for (Service service : exported) {
      if (!service.kubernetes() && seen.add(service.ref())) {
        warn(
            ISTIO,
            service.ref(),
            "is hidden from the pods of its own namespace by "
                + Problem.show(general.get().ref())
                + ", which does not import it");
      }
    }
  }

  // ---- workloads ---------------------------------------------------------------------------

  /// Only labels of the object itself: a label of its namespace is meant for others too.
  private void workloads() {
    Set<ResourceRef> told = new HashSet<>();
    around
        .workloads()
        .byAddress()
        .values()
        .forEach(workload -> {
          if (Waypoints.labelled(workload.labels())
              && around.waypoints().ofWorkload(workload.ref(), workload.labels())
                  instanceof Waypoints.Binding.Unavailable(String why)
              && told.add(workload.ref())) {
            warn(
                workload.ref().kind().equals("Pod") ? "" : ISTIO,
                workload.ref(),
                why + "; its connections go without a waypoint");
          }
        });
  }
}
