package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.OriginalDst;
import java.net.InetAddress;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// Everything that is configured for the destinations that one kind of client sees; shared by all
/// views that see the same. Immutable.
public final class DestinationPolicy {
  /// Nothing is configured.
  public static final DestinationPolicy EMPTY = new DestinationPolicy(Map.of(), Map.of());

  private final int[] ports;
  private final PortPolicy[] policies;
  private final Map<InetAddress, Action> addresses;

  /// @param ports what is configured by port
  /// @param addresses what is configured for an address whatever the port; comes first
  public DestinationPolicy(Map<Integer, PortPolicy> ports, Map<InetAddress, Action> addresses) {
    this.ports = ports.keySet().stream().mapToInt(Integer::intValue).sorted().toArray();
    this.policies = new PortPolicy[this.ports.length];
    for (int i = 0; i < this.ports.length; i++) {
      PortPolicy policy = ports.get(this.ports[i]);
      if (policy == null) {
        throw new IllegalArgumentException("a port without policy");
      }
      this.policies[i] = policy;
    }
    this.addresses = Map.copyOf(addresses);
  }

  /// What takes an address on every port, or null.
  @Nullable Action byAddress(OriginalDst dst) {
    return addresses.isEmpty() ? null : addresses.get(dst.address());
  }

  /// The listener that has the destination, or null.
  @Nullable Listener listener(OriginalDst dst) {
    int at = java.util.Arrays.binarySearch(ports, dst.port());
    return at < 0 ? null : policies[at].at(dst.address());
  }
}
