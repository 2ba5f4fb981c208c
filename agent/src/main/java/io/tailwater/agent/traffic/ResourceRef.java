package io.tailwater.agent.traffic;

/// Which configuration object: what a decision names as its reason.
public record ResourceRef(String kind, String namespace, String name) {
  @Override
  public String toString() {
    return kind + "/" + namespace + "/" + name;
  }
}
