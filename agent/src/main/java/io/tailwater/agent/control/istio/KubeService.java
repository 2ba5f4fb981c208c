package io.tailwater.agent.control.istio;

import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A Kubernetes Service, as far as clients of it are concerned.
///
/// @param addresses its VIPs; none where it is headless
/// @param headless whether it has no VIP on purpose (`clusterIP: None`)
/// @param externalName the name that it stands for (type ExternalName)
/// @param selector labels of its pods; empty where its EndpointSlices are written by hand
/// @param unready whether endpoints count before they are ready (`publishNotReadyAddresses`)
/// @param exportTo the annotation `networking.istio.io/exportTo`; empty where absent
public record KubeService(
    ResourceRef ref,
    Instant age,
    List<InetAddress> addresses,
    boolean headless,
    Optional<HostName> externalName,
    List<Port> ports,
    Map<String, String> selector,
    boolean unready,
    List<String> exportTo,
    Map<String, String> labels) {
  public KubeService {
    addresses = List.copyOf(addresses);
    ports = List.copyOf(ports);
    selector = Map.copyOf(selector);
    exportTo = List.copyOf(exportTo);
    labels = Map.copyOf(labels);
  }

  /// A TCP port with what its name or `appProtocol` says it speaks.
  public record Port(int number, String name, Protocol protocol, TargetPort target) {}

  /// Where a port leads in the pod.
  public sealed interface TargetPort {
    /// To this port.
    record Numbered(int port) implements TargetPort {}

    /// To the container's port of this name.
    record Named(String name) implements TargetPort {}
  }

  /// Its namespace.
  public String namespace() {
    return ref.namespace();
  }

  /// Its name.
  public String name() {
    return ref.name();
  }
}
