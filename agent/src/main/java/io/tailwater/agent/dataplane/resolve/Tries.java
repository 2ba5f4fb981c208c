package io.tailwater.agent.dataplane.resolve;

import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/// The tries of one question: which server next, and how long to wait for it. Each is given a
/// little longer than the one before. One thread at a time.
final class Tries {
  /// Times that a question is sent, unless there are more servers.
  private static final int USUAL = 3;

  /// However many servers are listed.
  private static final int MOST = 5;

  /// One try.
  record Try(InetSocketAddress server, Duration patience) {}

  private final List<InetSocketAddress> servers;
  private final int first;
  private final int most;
  private final Duration timeout;
  private final long began = System.nanoTime();
  private int tried;

  private Tries(List<InetSocketAddress> servers, int first, int most, Duration timeout) {
    this.servers = servers;
    this.first = Math.floorMod(first, servers.size());
    this.most = most;
    this.timeout = timeout;
  }

  /// @param first which server begins
  /// @param timeout for all tries together
  static Tries of(List<InetSocketAddress> servers, int first, Duration timeout) {
    return new Tries(servers, first, Math.clamp(servers.size(), USUAL, MOST), timeout);
  }

  /// Over TCP, where nothing gets lost: each server once.
  static Tries overStreams(List<InetSocketAddress> servers, int first, Duration timeout) {
    return new Tries(servers, first, Math.min(servers.size(), MOST), timeout);
  }

  /// Of what must not be sent twice.
  static Tries once(List<InetSocketAddress> servers, int first, Duration timeout) {
    return new Tries(servers, first, 1, timeout);
  }

  /// Empty when there have been enough, or the time is over.
  Optional<Try> next() {
    Duration left = timeout.minusNanos(System.nanoTime() - began);
    if (tried == most || (tried > 0 && left.toMillis() < 1)) {
      return Optional.empty();
    }
    // Shares of 2, 3, 4 ... of what is left.
    int weight = 0;
    for (int i = tried; i < most; i++) {
      weight += i + 2;
    }
    Duration share = left.multipliedBy(tried + 2).dividedBy(weight);
    InetSocketAddress server = servers.get((first + tried) % servers.size());
    tried++;
    return Optional.of(new Try(server, share));
  }

  /// Whether a server is left that has not been tried.
  boolean hasFreshServer() {
    return tried < Math.min(most, servers.size());
  }
}
