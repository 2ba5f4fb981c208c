package io.tailwater.agent.traffic;

/// A host as policy writes it: an exact name, or `*.suffix`, which covers every name at any depth
/// below the suffix and never the suffix itself (Istio `pkg/config/host`). Matching is on label
/// boundaries and blind to case.
public sealed interface HostPattern {
  /// As written in policy and in cluster names.
  String text();

  /// Whether the name is covered.
  boolean covers(HostName name);

  /// One name.
  record Exact(HostName name) implements HostPattern {
    @Override
    public String text() {
      return name.text();
    }

    @Override
    public boolean covers(HostName other) {
      return name.equals(other);
    }
  }

  /// Every name below `suffix`.
  record Wildcard(HostName suffix) implements HostPattern {
    @Override
    public String text() {
      return "*." + suffix.text();
    }

    @Override
    public boolean covers(HostName other) {
      int start = other.text().length() - suffix.text().length();
      return start > 1
          && other.text().charAt(start - 1) == '.'
          && other.text().startsWith(suffix.text(), start);
    }
  }
}
