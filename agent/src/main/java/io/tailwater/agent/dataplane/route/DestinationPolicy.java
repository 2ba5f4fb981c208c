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
      new DestinationPolicy(Map.of(), AnyPort.NONE, Map.of(), Map.of());

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

    @Nullable Action single(InetAddress address) {
      return addresses.isEmpty() ? null : addresses.get(address);
    }

    @Nullable Action block(InetAddress address) {
      for (int i = 0; i < blocks.size(); i++) {
        if (blocks.get(i).block.contains(address)) {
          return blocks.get(i).action;
        }
      }
      return null;
    }
  }

  /// A service that its address tells, whatever the client says there (a Kubernetes Service).
  public static final class Vip {
    private final int[] ports;
    private final Listener[] listeners;
    private final Listener missing;

    /// @param missing what is done on every other port
    public Vip(Map<Integer, Listener> ports, Listener missing) {
      this.ports = ports.keySet().stream().mapToInt(Integer::intValue).sorted().toArray();
      this.listeners = new Listener[this.ports.length];
      for (int i = 0; i < this.ports.length; i++) {
        listeners[i] = ports.getOrDefault(this.ports[i], missing);
      }
      this.missing = missing;
    }

    Listener at(int port) {
      int at = Arrays.binarySearch(ports, port);
      return at < 0 ? missing : listeners[at];
    }
  }

  private final int[] ports;
  private final PortPolicy[] policies;
  private final AnyPort before;
  private final Map<InetAddress, Vip> vips;
  private final Map<InetAddress, Action> workloads;

  /// @param ports what is configured by port
  /// @param before what takes an address before anything else: what is bound to a waypoint
  /// @param vips the services that have an address to themselves
  /// @param workloads what an address is known as where its port and the client's bytes told
  ///   nothing
  public DestinationPolicy(
      Map<Integer, PortPolicy> ports,
      AnyPort before,
      Map<InetAddress, Vip> vips,
      Map<InetAddress, Action> workloads) {
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
    this.vips = Map.copyOf(vips);
    this.workloads = Map.copyOf(workloads);
  }

  /// The ports for which something is configured, in order.
  List<Integer> ports() {
    return Arrays.stream(ports).boxed().toList();
  }

  /// What takes an address on every port, or null. The address of a service is no part of a block.
  @Nullable Action before(OriginalDst dst) {
    @Nullable Action single = before.single(dst.address());
    if (single != null) {
      return single;
    }
    return before.blocks.isEmpty() || vips.containsKey(dst.address())
        ? null
        : before.block(dst.address());
  }

  /// The workload that an otherwise unknown address belongs to, or null.
  @Nullable Action after(OriginalDst dst) {
    return workloads.isEmpty() ? null : workloads.get(dst.address());
  }

  /// The listener that has the destination, or null.
  @Nullable Listener listener(OriginalDst dst) {
    if (!vips.isEmpty()) {
      @Nullable Vip vip = vips.get(dst.address());
      if (vip != null) {
        return vip.at(dst.port());
      }
    }
    int at = Arrays.binarySearch(ports, dst.port());
    return at < 0 ? null : policies[at].at(dst.address(), after(dst) != null);
  }
}
