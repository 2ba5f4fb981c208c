package io.tailwater.agent.dataplane.resolve;

import io.tailwater.agent.traffic.AddressRule;
import java.net.InetAddress;

/// Tells which addresses are never dialled. Any thread; applied to the very address that goes to
/// connect().
public interface AddressFilter {
  /// Whether the address may be dialled under the rule.
  boolean admits(InetAddress address, AddressRule rule);

  /// Why not, as a clause: "is in 169.254.0.0/16 (link-local, metadata)". Only for addresses that
  /// are not admitted.
  String reason(InetAddress address, AddressRule rule);
}
