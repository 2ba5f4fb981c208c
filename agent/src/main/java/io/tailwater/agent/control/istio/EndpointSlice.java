package io.tailwater.agent.control.istio;

import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A Kubernetes EndpointSlice: some of a Service's endpoints.
///
/// @param service the Service's name (label `kubernetes.io/service-name`); empty where it is of
///   none
/// @param ports target ports by the names of the Service's ports
public record EndpointSlice(
    ResourceRef ref, String service, List<Endpoint> endpoints, Map<String, Integer> ports) {
  public EndpointSlice {
    endpoints = List.copyOf(endpoints);
    ports = Map.copyOf(ports);
  }

  /// One endpoint; the first of its addresses stands for all, as Kubernetes has it.
  public record Endpoint(InetAddress address, boolean ready, Optional<String> zone) {}

  /// Its namespace.
  public String namespace() {
    return ref.namespace();
  }
}
