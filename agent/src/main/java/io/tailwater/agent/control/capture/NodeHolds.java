package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.iptables.apply.NodeGuard;
import io.tailwater.iptables.apply.NodeHold;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.NodePlan;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// What holds on the node whoever flushes its rules: live connections go on ([NodeHold]), and
/// closed pods stay closed ([NodeGuard]). The process has it, not the rules: it goes with this
/// agent.
///
/// One thread at a time: the capture thread, and at the end the one that waits for the last
/// connection.
final class NodeHolds implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(NodeHolds.class);

  private final NetworkNamespace node;
  private final NodeGuard guard;
  private final List<ServedPod> leaving = new ArrayList<>();
  private @Nullable NodeHold hold;
  private boolean unholdable;
  private boolean unguarded;

  NodeHolds(NetworkNamespace node) {
    this.node = node;
    this.guard = new NodeGuard(node);
  }

  /// Keeps closed what is closed in a plan. Before its rules.
  ///
  /// @param ipv6Blocked IPv6 is kept closed without the guard
  void guard(NodePlan plan, boolean ipv6Blocked) {
    try {
      guard.guard(plan, ipv6Blocked);
      unguarded = false;
    } catch (SyscallException e) {
      guard.close(); // rather none than one that stands in the way of what is allowed by now
      if (!unguarded) {
        LOG.warn(
            "closed pods are open when somebody flushes the rules of the node, until these are"
                + " back ({}); trying again. Needed are Linux 5.12, for the kernel pass 5.16, and"
                + " nft_ct, nft_limit and nft_log",
            e.getMessage());
      }
      unguarded = true;
    }
  }

  /// Nothing is kept closed any more but by rules.
  void unguard() {
    guard.close();
  }

  /// Keeps connections going from now on. Behind the routes.
  void hold() {
    if (hold != null || unholdable) {
      return;
    }
    try {
      hold = NodeHold.open(node);
    } catch (SyscallException e) {
      unholdable = true;
      LOG.warn(
          "connections through the agent end when somebody flushes the rules of the node ({}):"
              + " needed are Linux 5.12 and nft_socket",
          e.getMessage());
    }
  }

  /// The agent leaves, and what a pod has open goes on.
  void goesOn(ServedPod pod) {
    leaving.add(pod);
  }

  /// Whether there are connections that need the routes though no rule does.
  boolean needRoutes() {
    return hold != null && leaving.stream().anyMatch(pod -> pod.connections().get() > 0);
  }

  /// Connections break from now on.
  @Override
  public void close() {
    guard.close();
    if (hold != null) {
      hold.close();
      hold = null;
    }
  }
}
