package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.Sidecar;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Which Sidecar a pod has: of its namespace one that selects it, else one without selector, else
/// that of the root namespace without selector; the oldest of several. Nothing is inherited from
/// one to the other. Immutable.
final class Sidecars {
  private final String rootNamespace;
  private final Map<String, List<Sidecar>> selecting = new HashMap<>();
  private final Map<String, Sidecar> general = new HashMap<>();
  private final Map<ResourceRef, Sidecar> byRef = new HashMap<>();

  Sidecars(List<Sidecar> sidecars, String rootNamespace) {
    this.rootNamespace = rootNamespace;
    for (Sidecar sidecar :
        sidecars.stream()
            .sorted(Comparator.comparing(Sidecar::age).thenComparing(s -> s.ref().name()))
            .toList()) {
      byRef.put(sidecar.ref(), sidecar);
      if (sidecar.selector().isEmpty()) {
        general.putIfAbsent(sidecar.namespace(), sidecar);
      } else {
        selecting.computeIfAbsent(sidecar.namespace(), _ -> new ArrayList<>()).add(sidecar);
      }
    }
  }

  /// The one that a pod has.
  Optional<Sidecar> of(Pod pod) {
    return selecting.getOrDefault(pod.namespace(), List.of()).stream()
        .filter(s -> s.selects(pod.labels()))
        .findFirst()
        .or(() -> general(pod.namespace()));
  }

  /// The one of a namespace's pods that no other selects.
  Optional<Sidecar> general(String namespace) {
    return Optional.ofNullable(general.get(namespace))
        .or(() -> Optional.ofNullable(general.get(rootNamespace)));
  }

  /// Every one.
  Collection<Sidecar> all() {
    return byRef.values();
  }

  String rootNamespace() {
    return rootNamespace;
  }

  /// The one of a name.
  Optional<Sidecar> get(ResourceRef ref) {
    return Optional.ofNullable(byRef.get(ref));
  }
}
