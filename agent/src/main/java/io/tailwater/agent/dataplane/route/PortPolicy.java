package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.CidrBlock;
import java.net.InetAddress;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// The listeners of one port: for single addresses, for blocks (the longest prefix wins) and for
/// every other address. The most specific one that holds an address has it alone. Immutable.
///
/// Workloads that are dialled by their own address are not found by the names of Kubernetes
/// Services, so there is one more listener for their addresses.
public final class PortPolicy {
  /// The listener of a block.
  public record Block(CidrBlock block, Listener listener) {}

  private final Map<InetAddress, Listener> addresses;
  private final Block[] blocks;
  private final @Nullable Listener everywhere;
  private final @Nullable Listener workloads;

  public PortPolicy(
      Map<InetAddress, Listener> addresses, List<Block> blocks, Optional<Listener> everywhere) {
    this(addresses, blocks, everywhere, everywhere);
  }

  /// @param everywhere for every other address
  /// @param workloads the same for every other address of a workload
  public PortPolicy(
      Map<InetAddress, Listener> addresses,
      List<Block> blocks,
      Optional<Listener> everywhere,
      Optional<Listener> workloads) {
    this.addresses = Map.copyOf(addresses);
    this.blocks =
        blocks.stream()
            .sorted(Comparator.comparingInt((Block b) -> b.block().prefix()).reversed())
            .toArray(Block[]::new);
    this.everywhere = everywhere.orElse(null);
    this.workloads = workloads.orElse(null);
  }

  /// The listener for an address, or null.
  @Nullable Listener at(InetAddress address, boolean workload) {
    if (!addresses.isEmpty()) {
      @Nullable Listener exact = addresses.get(address);
      if (exact != null) {
        return exact;
      }
    }
    for (Block block : blocks) {
      if (block.block.contains(address)) {
        return block.listener;
      }
    }
    return workload ? workloads : everywhere;
  }
}
