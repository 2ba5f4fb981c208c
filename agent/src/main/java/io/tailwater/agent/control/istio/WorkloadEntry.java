package io.tailwater.agent.control.istio;

import io.tailwater.agent.traffic.ResourceRef;
import java.time.Instant;
import java.util.Map;

/// A valid WorkloadEntry: a workload outside Kubernetes. `ports` are by the names of service ports;
/// `hbone` tells that it takes HBONE (label `networking.istio.io/tunnel: http`).
///
/// @param labels those of the resource and of its spec, as one
public record WorkloadEntry(
    ResourceRef ref,
    Instant age,
    ServiceEntry.Place place,
    Map<String, Integer> ports,
    Map<String, String> labels,
    String network,
    String locality,
    int weight,
    String serviceAccount,
    boolean hbone) {
  public WorkloadEntry {
    ports = Map.copyOf(ports);
    labels = Map.copyOf(labels);
  }

  /// Its namespace.
  public String namespace() {
    return ref.namespace();
  }
}
