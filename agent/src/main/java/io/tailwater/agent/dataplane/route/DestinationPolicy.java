package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.InetAddress;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// Everything that is configured for the destinations that one kind of client sees; shared by all
/// views that see the same. Immutable.
public final class DestinationPolicy {
  /// Nothing is configured.
  public static final DestinationPolicy EMPTY =
      new DestinationPolicy(Map.of(), AnyPort.NONE, AnyPort.NONE);

  /// What takes an address whatever the port.
  ///
  /// @param addresses single addresses; they come before blocks
  /// @param blocks the longest prefix wins
  public record AnyPort(Map<InetAddress, Action> addresses, List<Block> blocks) {
    public static final AnyPort NONE = new AnyPort(Map.of(), List.of());

    /// One block.
    public record Block(CidrBlock block, Action action) {}

    public AnyPort {
      addresses = Map.copyOf(addresses);
      blocks =
          blocks.stream()
              .sorted(Comparator.comparingInt((Block b) -> b.block().prefix()).reversed())
              .toList();
    }

    @Nullable Action at(InetAddress address) {
      @Nullable Action single = addresses.isEmpty() ? null : addresses.get(address);
      if (single != null) {
        return single;
      }
      for (int i = 0; i < blocks.size(); i++) {
        if (blocks.get(i).block.contains(address)) {
          return blocks.get(i).action;
        }
      }
      return null;
    }
  }

  private final int[] ports;
  private final PortPolicy[] policies;
  private final AnyPort before;
  private final AnyPort after;

  /// @param ports what is configured by port
  /// @param before what takes an address before its port is looked at: what is bound to a waypoint
  /// @param after what an address is known as where its port and the client's bytes told nothing:
  ///   Services without that port, pods
  public DestinationPolicy(Map<Integer, PortPolicy> ports, AnyPort before, AnyPort after) {
    this.ports = ports.keySet().stream().mapToInt(Integer::intValue).sorted().toArray();
    this.policies = new PortPolicy[this.ports.length];
    for (int i = 0; i < this.ports.length; i++) {
      PortPolicy policy = ports.get(this.ports[i]);
      if (policy == null) {
        throw new IllegalArgumentException("a port without policy");
      }
      this.policies[i] = policy;
    }
    this.before = before;
    this.after = after;
  }

  /// What takes an address on every port, or null.
  @Nullable Action before(OriginalDst dst) {
    return before.at(dst.address());
  }

  /// What an otherwise unknown address is known as, or null.
  @Nullable Action after(OriginalDst dst) {
    return after.at(dst.address());
  }

  /// The listener that has the destination, or null.
  @Nullable Listener listener(OriginalDst dst) {
    int at = Arrays.binarySearch(ports, dst.port());
    return at < 0 ? null : policies[at].at(dst.address());
  }
}
