package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.EndpointSlice;
import io.tailwater.agent.control.istio.GatewayReader;
import io.tailwater.agent.control.istio.KubePod;
import io.tailwater.agent.control.istio.KubeReader;
import io.tailwater.agent.control.istio.KubeService;
import io.tailwater.agent.control.istio.Namespaces;
import io.tailwater.agent.control.istio.Sidecar;
import io.tailwater.agent.control.istio.SidecarReader;
import io.tailwater.agent.control.istio.Waypoint;
import io.tailwater.agent.control.istio.WaypointReader;
import io.tailwater.agent.control.istio.WorkloadEntry;
import io.tailwater.agent.control.istio.WorkloadEntryReader;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/// The resources that make up the cluster around the entries: Kubernetes' own kinds, workloads,
/// waypoints and Sidecars. Kept across compiles; one thread at a time.
final class ClusterResources {
  private static final String ISTIO = "networking.istio.io";
  private static final String GATEWAY_API = "gateway.networking.k8s.io";

  private final ReadResources<Sidecar> sidecars = new ReadResources<>(SidecarReader::read);
  private final ReadResources<WorkloadEntry> entries =
      new ReadResources<>(WorkloadEntryReader::read);
  private final ReadResources<KubeService> services = new ReadResources<>(KubeReader::service);
  private final ReadResources<EndpointSlice> slices =
      new ReadResources<>(KubeReader::endpointSlice);
  private final ReadResources<KubePod> pods = new ReadResources<>(KubeReader::pod);
  private final ReadResources<Waypoint> gateways = new ReadResources<>(WaypointReader::read);
  private final ReadResources<ResourceRef> istioGateways = new ReadResources<>(GatewayReader::read);

  /// What was read.
  record Read(
      Namespaces namespaces,
      Sidecars sidecars,
      Workloads workloads,
      Waypoints waypoints,
      List<KubeService> services,
      List<SidecarScope.Routes> virtualServices) {
    Read {
      virtualServices = List.copyOf(virtualServices);
      services = List.copyOf(services);
    }

    /// The same with VirtualServices.
    Read with(List<SidecarScope.Routes> routes) {
      return new Read(namespaces, sidecars, workloads, waypoints, services, routes);
    }
  }

  Read read(ResourceSet set, Namespaces namespaces, String rootNamespace, List<Problem> problems) {
    Workloads workloads =
        new Workloads(
            pods.of(set.ofKind("", "Pod"), problems),
            entries.of(set.ofKind(ISTIO, "WorkloadEntry"), problems),
            slices.of(set.ofKind("discovery.k8s.io", "EndpointSlice"), problems));
    Map<String, Waypoint.Serves> classes = new HashMap<>();
    for (KubeObject object : set.ofKind(GATEWAY_API, "GatewayClass")) {
      WaypointReader.serves(object).ifPresent(serves -> classes.put(object.name(), serves));
    }
    var _ = istioGateways.of(set.ofKind(ISTIO, "Gateway"), problems);
    return new Read(
        namespaces,
        new Sidecars(sidecars(set.ofKind(ISTIO, "Sidecar"), problems), rootNamespace),
        workloads,
        new Waypoints(
            gateways.of(set.ofKind(GATEWAY_API, "Gateway"), problems), classes, namespaces),
        services.of(set.ofKind("", "Service"), problems),
        List.of());
  }

  /// A Sidecar that was never valid restricts all the same: without it its pods would see more.
  private List<Sidecar> sidecars(List<KubeObject> objects, List<Problem> problems) {
    List<Sidecar> out = new ArrayList<>(sidecars.of(objects, problems));
    Set<ResourceRef> valid = out.stream().map(Sidecar::ref).collect(Collectors.toSet());
    for (KubeObject object : objects) {
      if (!valid.contains(object.key().ref())) {
        out.add(SidecarReader.unreadable(object));
        problems.add(
            Problem.of(
                Problem.Severity.WARNING,
                object,
                "cannot be read, so the pods that it seems to select see no service at all"));
      }
    }
    return out;
  }
}
