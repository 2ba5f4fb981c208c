package io.tailwater.agent.traffic;

import org.jspecify.annotations.Nullable;

/// Which pod: the key under which a pod is counted, limited and shown.
public record PodRef(String namespace, String name) implements Comparable<PodRef> {
  /// Pods are looked up for each connection, therefore by hand.
  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof PodRef that
        && name.equals(that.name)
        && namespace.equals(that.namespace);
  }

  @Override
  public int hashCode() {
    return namespace.hashCode() * 31 + name.hashCode();
  }

  @Override
  public int compareTo(PodRef other) {
    int byNamespace = namespace.compareTo(other.namespace);
    return byNamespace != 0 ? byNamespace : name.compareTo(other.name);
  }

  @Override
  public String toString() {
    return namespace + "/" + name;
  }
}
