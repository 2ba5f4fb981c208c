package io.tailwater.agent.control.source;

import io.tailwater.agent.traffic.ResourceRef;

/// What makes a Kubernetes object one and the same: its API group (`""` for the core group, the
/// version does not count), kind, namespace (`""` for what lives in none) and name. The group is in
/// it because Istio and the Gateway API both have a `Gateway`.
public record ResourceKey(String group, String kind, String namespace, String name) {
  /// For people, without the group.
  public ResourceRef ref() {
    return new ResourceRef(kind, namespace, name);
  }

  @Override
  public String toString() {
    return Problem.show(ref());
  }
}
