package io.tailwater.agent.control.istio;

import java.util.List;
import java.util.Optional;

/// The part of Istio's MeshConfig that is honoured. `defaultServiceExportTo` applies to entries
/// that name no `exportTo`; each item is `*`, `.`, `~` or a namespace; `outboundTls` is the TLS
/// that is originated for unknown HTTP under ALLOW_ANY_DYNAMIC_DNS (Istio
/// `mesh/v1alpha1/config.proto`).
public record MeshSettings(
    String rootNamespace,
    String trustDomain,
    OutboundTrafficPolicy outboundTrafficPolicy,
    Optional<DestinationRule.Tls> outboundTls,
    List<String> defaultServiceExportTo,
    ServiceEntryVisibility serviceEntryVisibility) {

  public MeshSettings(
      String rootNamespace,
      String trustDomain,
      OutboundTrafficPolicy outboundTrafficPolicy,
      List<String> defaultServiceExportTo) {
    this(
        rootNamespace,
        trustDomain,
        outboundTrafficPolicy,
        Optional.empty(),
        defaultServiceExportTo,
        ServiceEntryVisibility.PUBLIC);
  }

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
