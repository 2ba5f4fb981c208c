package io.tailwater.agent.node;

import io.tailwater.iptables.netns.NamespaceAddresses;
import java.io.IOException;
import java.net.InetAddress;
import java.util.Set;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The node's own addresses, which no name may lead to. Read on any thread; [#refresh] is called
/// now and then, because nodes gain and lose addresses.
final class OwnAddresses implements Supplier<Set<InetAddress>> {
  private static final Logger LOG = LoggerFactory.getLogger(OwnAddresses.class);

  private volatile Set<InetAddress> known = Set.of();

  /// Reads them anew; keeps what was known when they cannot be read.
  void refresh() {
    try {
      known = Set.copyOf(NamespaceAddresses.here());
    } catch (IOException e) {
      LOG.warn("cannot read the node's addresses: {}", e.getMessage());
    }
  }

  @Override
  public Set<InetAddress> get() {
    return known;
  }
}
