package io.tailwater.agent.control.istio;

import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.EgressMode;
import java.util.List;
import java.util.Map;

/// The `egress:` section: how strictly policy is applied, and which addresses are admitted in spite
/// of the filter on private ranges.
public record EgressSettings(
    EgressMode mode, Map<String, EgressMode> namespaces, List<CidrBlock> allowedAddresses) {

  /// Enforcing everywhere, without exceptions.
  public static final EgressSettings DEFAULTS =
      new EgressSettings(EgressMode.ENFORCE, Map.of(), List.of());

  public EgressSettings {
    namespaces = Map.copyOf(namespaces);
    allowedAddresses = List.copyOf(allowedAddresses);
  }

  /// The mode that the configuration names for a namespace; a label on the Namespace may tighten
  /// it.
  public EgressMode modeOf(String namespace) {
    return namespaces.getOrDefault(namespace, mode);
  }
}
