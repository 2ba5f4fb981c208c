package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.Pod;

/// One compiled policy: immutable, published whole. Views are built on first use and cached.
public interface RouteTable {
  /// Counts up with each compile.
  long generation();

  /// The view for a pod. Keep it until the generation changes; looking it up is not for each
  /// connection.
  ClientView view(Pod pod);
}
