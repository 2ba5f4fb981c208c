package io.tailwater.agent.control.istio;

import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.util.List;
import java.util.Map;

/// A Kubernetes Pod, as a destination.
///
/// @param ready whether it takes connections to the services that select it
/// @param ended whether it has run to its end, so that its addresses may be another's
/// @param hostNetwork whether its addresses are the node's
/// @param hbone whether it takes HBONE (annotation `ambient.istio.io/redirection: enabled`)
/// @param containerPorts its TCP ports by name
public record KubePod(
    ResourceRef ref,
    List<InetAddress> addresses,
    Map<String, String> labels,
    boolean ready,
    boolean ended,
    boolean hostNetwork,
    boolean hbone,
    Map<String, Integer> containerPorts,
    String node) {
  public KubePod {
    addresses = List.copyOf(addresses);
    labels = Map.copyOf(labels);
    containerPorts = Map.copyOf(containerPorts);
  }

  /// Its namespace.
  public String namespace() {
    return ref.namespace();
  }
}
