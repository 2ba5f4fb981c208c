package io.tailwater.agent.traffic;

/// Which pod: the key under which a pod is counted, limited and shown.
public record PodRef(String namespace, String name) implements Comparable<PodRef> {
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
