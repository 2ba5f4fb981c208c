package io.tailwater.agent.control.istio;

import java.util.List;
import java.util.Map;
import java.util.Set;

/// Istio's `MeshConfig.serviceEntryVisibility`: how far the mesh's administrator lets
/// ServiceEntries be seen, by the namespace that they are in. It only narrows what `exportTo` says,
/// and acts only with `applyToSidecars`, as it does on Istio's sidecars. Immutable.
public record ServiceEntryVisibility(
    Scope defaultVisibility, List<Policy> policies, boolean applyToSidecars) {
  /// Nothing is narrowed.
  public static final ServiceEntryVisibility PUBLIC =
      new ServiceEntryVisibility(Scope.PUBLIC, List.of(), false);

  public ServiceEntryVisibility {
    policies = List.copyOf(policies);
  }

  /// How far.
  public enum Scope {
    /// As far as `exportTo` says.
    PUBLIC,
    /// To the entry's own namespace.
    NAMESPACE,
    /// To nobody.
    NONE
  }

  /// The scope of namespaces that all selectors match; without selectors, of all.
  public record Policy(Scope visibility, List<LabelSelector> namespaces) {
    public Policy {
      namespaces = List.copyOf(namespaces);
    }
  }

  /// What is left of a declared visibility.
  ///
  /// @param namespace the entry's
  /// @param labels of that namespace
  public Visibility narrow(Visibility declared, String namespace, Map<String, String> labels) {
    if (!applyToSidecars) {
      return declared;
    }
    return switch (scope(labels)) {
      case PUBLIC -> declared;
      case NAMESPACE ->
          new Visibility(false, declared.covers(namespace) ? Set.of(namespace) : Set.of());
      case NONE -> new Visibility(false, Set.of());
    };
  }

  private Scope scope(Map<String, String> labels) {
    for (Policy policy : policies) {
      if (policy.namespaces.stream().allMatch(s -> s.matches(labels))) {
        return policy.visibility;
      }
    }
    return defaultVisibility;
  }
}
