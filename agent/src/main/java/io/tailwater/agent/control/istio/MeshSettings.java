package io.tailwater.agent.control.istio;

import java.util.List;

/// The part of Istio's MeshConfig that is honoured. `defaultServiceExportTo` applies to entries
/// that name no `exportTo`; each item is `*`, `.`, `~` or a namespace (Istio
/// `mesh/v1alpha1/config.proto`).
public record MeshSettings(
    String rootNamespace,
    String trustDomain,
    OutboundTrafficPolicy outboundTrafficPolicy,
    List<String> defaultServiceExportTo) {

  /// Istio's own defaults.
  public static final MeshSettings DEFAULTS =
      new MeshSettings(
          "istio-system", "cluster.local", OutboundTrafficPolicy.ALLOW_ANY, List.of("*"));

  /// What happens to destinations that no resource knows.
  public enum OutboundTrafficPolicy {
    /// They pass to the address that was dialled.
    ALLOW_ANY,
    /// They are refused.
    REGISTRY_ONLY,
    /// Plaintext HTTP goes to what its Host resolves to; the rest passes as with ALLOW_ANY.
    ALLOW_ANY_DYNAMIC_DNS
  }

  public MeshSettings {
    if (rootNamespace.isEmpty()) {
      throw new IllegalArgumentException("rootNamespace is empty");
    }
    if (trustDomain.isEmpty()) {
      throw new IllegalArgumentException("trustDomain is empty");
    }
    defaultServiceExportTo = List.copyOf(defaultServiceExportTo);
  }
}
