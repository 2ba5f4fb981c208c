package io.tailwater.agent.control.capture;

import io.tailwater.iptables.apply.AliveSets;
import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// What lets pods that fail open pass when the agent on the node is no more: the sets that their
/// rules ask. Capture thread only.
final class NodeOpening {
  private static final Logger LOG = LoggerFactory.getLogger(NodeOpening.class);

  /// Sockets of a dead agent that wait out their time stand at the pods' addresses. A packet that
  /// the kernel takes for one of theirs as it comes in is not forwarded, so that for a minute a pod
  /// could not be answered on a port that the agent had last.
  private static final Path EARLY_DEMUX = Path.of("/proc/sys/net/ipv4/tcp_early_demux");

  private final NetworkNamespace node;
  private final RuleKeeper keeper;
  private final RuleBackend backend;
  private @Nullable AliveSets alive;
  private boolean impossible;
  private boolean switchedOff;

  NodeOpening(NetworkNamespace node, RuleKeeper keeper, RuleBackend backend) {
    this.node = node;
    this.keeper = keeper;
    this.backend = backend;
  }

  /// Whether rules may depend on a living agent here, as far as is known.
  boolean isPossible() {
    return !impossible;
  }

  /// Whether rules do.
  boolean isAsked() {
    return alive != null;
  }

  /// Has the sets there, or lets them go, for the rules that come.
  void ask(boolean wanted) {
    if (!wanted) {
      expire();
    } else if (alive == null && !impossible) {
      try {
        alive = AliveSets.open(node, backend);
        answerForwarded();
      } catch (SyscallException e) {
        impossible = true;
        LOG.warn(
            "should this agent be killed, what the pods begin is refused until one is back: the"
                + " rules cannot depend on a set ({}). The kernel needs ip_set_hash_net and xt_set,"
                + " or the backend nft",
            e.getMessage());
      }
    }
  }

  private void answerForwarded() {
    try {
      if (!Files.readString(EARLY_DEMUX).strip().equals("0")) {
        Files.writeString(EARLY_DEMUX, "0");
        switchedOff = true;
        LOG.info("net.ipv4.tcp_early_demux is 0 now, for pods that are open while no agent runs");
      }
    } catch (IOException e) {
      LOG.warn(
          "net.ipv4.tcp_early_demux cannot be set to 0 ({}): should this agent be killed, some of"
              + " the open pods' connections are not answered in the minute after",
          e.getMessage());
    }
  }

  /// Before the rules that ask them: what is there stays.
  void make() {
    if (alive != null) {
      alive.make();
    }
  }

  /// The rules stand: an agent lives.
  void renew() {
    if (alive != null) {
      keeper.keepAlive(alive);
    }
  }

  /// No agent lives from now on.
  void open() {
    if (alive != null) {
      keeper.stop(alive);
    }
  }

  /// The sets are renewed no more.
  void expire() {
    if (alive != null) {
      keeper.letExpire(alive);
      alive = null;
    }
  }

  /// Nothing of ours is on the node any more.
  void undo() {
    if (switchedOff) {
      switchedOff = false;
      try {
        Files.writeString(EARLY_DEMUX, "1");
      } catch (IOException e) {
        LOG.warn("net.ipv4.tcp_early_demux cannot be set back to 1: {}", e.getMessage());
      }
    }
  }
}
