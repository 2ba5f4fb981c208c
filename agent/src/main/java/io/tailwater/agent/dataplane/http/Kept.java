package io.tailwater.agent.dataplane.http;

import io.netty.channel.Channel;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;

/// A connection to a destination, as its pool sees it. On the loop.
interface Kept {
  /// Whose requests may use it.
  Object key();

  ConnectionPolicy policy();

  Channel channel();

  /// Whether it carries no request.
  boolean rests();

  /// Since when, where it does.
  long restingSince();

  /// Takes no more requests, and closes when those that it carries are over.
  void retire();

  /// Closes it now.
  void close();

  /// Whether policy allows no more requests on it.
  default boolean usedUp(int requests) {
    int most = policy().limits().maxRequestsPerConnection();
    return most != 0 && requests >= most;
  }
}
