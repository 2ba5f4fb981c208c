package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.KubeService;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.control.istio.Visibility;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import java.util.List;

/// Makes services that clients see of Kubernetes Services. Pure.
final class KubernetesServices {
  /// What Services are named below; the cluster domain of nearly every cluster.
  private static final String DOMAIN = "cluster.local";

  private KubernetesServices() {}

  static Service service(
      KubeService service, MeshSettings mesh, Workloads workloads, Waypoints waypoints) {
    HostPattern host = new HostPattern.Exact(host(service.name(), service.namespace()));
    Visibility visibility =
        Visibility.of(service.exportTo(), service.namespace(), mesh.defaultServiceExportTo());
    List<CidrBlock> addresses = service.addresses().stream().map(CidrBlock::of).toList();
    Waypoints.Binding binding = waypoints.ofService(service.ref(), service.labels());
    List<Service.Port> ports =
        service.ports().stream()
            .map(port ->
                new Service.Port(
                    port.number(),
                    port.protocol(),
                    new Backend(
                        host,
                        service.namespace(),
                        port.number(),
                        port.protocol(),
                        new Backend.Source.Endpoints(workloads.behind(service, port), false),
                        AddressRule.UNFILTERED,
                        service.ref()),
                    addresses,
                    false,
                    List.of()))
            .toList();
    return new Service(
        host,
        service.ref(),
        service.age(),
        visibility,
        ports,
        new Service.Origin.Kubernetes(service.externalName().map(HostPattern.Exact::new)),
        addresses,
        binding);
  }

  private static HostName host(String name, String namespace) {
    return HostName.of(name + "." + namespace + ".svc." + DOMAIN);
  }
}
