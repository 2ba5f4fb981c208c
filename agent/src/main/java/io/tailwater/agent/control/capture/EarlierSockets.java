package io.tailwater.agent.control.capture;

import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netns.NamespaceAddresses;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.queue.Conntrack;
import io.tailwater.iptables.queue.ConntrackEntry;
import io.tailwater.iptables.queue.FlowTuple;
import io.tailwater.iptables.queue.SocketDiag;
import io.tailwater.iptables.queue.TcpSocket;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.EarlierConnections;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.iptables.rule.Mark;
import io.tailwater.iptables.rule.NodePlan;
import java.io.IOException;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Ends what closed pods have begun before their rules came. The rules cut such a connection at the
/// pod's next packet; where the server speaks first, what the pod sends counts as an answer to
/// them, and it would go on.
///
/// What an agent carries, this one or one before it, was captured at its SYN, and conntrack says
/// so. What a server in the pod has accepted is nobody's egress.
///
/// Any thread, one at a time for each pod.
final class EarlierSockets {
  private static final Logger LOG = LoggerFactory.getLogger(EarlierSockets.class);

  /// Said once for all pods.
  private volatile boolean told;

  /// Whether rules that have come into force make connections earlier ones that were not before.
  private static boolean isDue(@Nullable CapturePlan before, CapturePlan now) {
    return now.earlier() == EarlierConnections.CUT
        && (before == null
            || before.earlier() != EarlierConnections.CUT
            || (before.kernelPass().isPresent() && now.kernelPass().isEmpty()));
  }

  /// The rules of a plan are in force in the pod's own namespace.
  ///
  /// @param before those that this agent has had in force until then
  void endInPod(
      CapturedPod pod, NetworkNamespace namespace, @Nullable CapturePlan before, CapturePlan now) {
    if (isDue(before, now)) {
      List<Mark> agents =
          Stream.of(
                  Stream.of(now.agent()),
                  now.strictness().joining().stream(),
                  now.strictness().former().stream())
              .flatMap(marks -> marks)
              .toList();
      end(pod, namespace, namespace, new Known(now.kernelPass().isPresent(), agents, 0));
    }
  }

  /// The same on the node, where no socket of the pod's namespace is an agent's.
  void endOnNode(
      CapturedPod pod,
      NetworkNamespace namespace,
      NetworkNamespace node,
      @Nullable CapturePlan before,
      CapturePlan now) {
    if (isDue(before, now)) {
      end(pod, namespace, node, new Known(now.kernelPass().isPresent(), List.of(), NodePlan.ZONE));
    }
  }

  /// What an agent carries is known by.
  ///
  /// @param passes connections may go out as themselves
  /// @param agents marks of sockets that are an agent's own
  /// @param zone of conntrack, in which there is nothing else; 0 where it is redirected
  private record Known(boolean passes, List<Mark> agents, int zone) {
    boolean isAgents(TcpSocket socket) {
      return agents.stream().anyMatch(mark -> (socket.mark() & mark.mask()) == mark.value());
    }

    boolean isCaptured(FlowTuple flow, Optional<ConntrackEntry> common, Conntrack conntrack) {
      return common.filter(entry -> goesOn(flow, entry)).isPresent()
          || (zone != 0 && conntrack.find(flow, zone).filter(ConntrackEntry::isLiving).isPresent());
    }

    private boolean goesOn(FlowTuple flow, ConntrackEntry entry) {
      Mark gate = KernelPass.GATE;
      if (passes && (entry.mark() & gate.mask()) == gate.value()) {
        return true;
      }
      boolean byPod = entry.flow().equals(flow);
      return entry.isLiving()
          && !entry.midstream()
          && (!byPod || (zone == 0 && entry.redirected()));
    }
  }

  private void end(
      CapturedPod pod, NetworkNamespace namespace, NetworkNamespace rules, Known known) {
    try (SocketDiag sockets = SocketDiag.open(namespace);
        Conntrack conntrack = Conntrack.open(rules)) {
      int ended = 0;
      for (TcpSocket socket : begunInside(namespace, sockets.list())) {
        FlowTuple flow = socket.flow();
        Optional<ConntrackEntry> entry = conntrack.find(flow);
        if (known.isAgents(socket) || known.isCaptured(flow, entry, conntrack)) {
          continue;
        }
        switch (sockets.destroy(socket)) {
          case YES -> {
            ended++;
            // The rules do not let a reset out that belongs to it; without it the server learns the
            // end when it says something.
            entry.ifPresent(_ -> conntrack.delete(flow));
          }
          case NO_SOCKET -> {} // it has ended by itself
          case NOT_IN_THIS_KERNEL -> {
            tell(pod, "the kernel cannot end sockets (CONFIG_INET_DIAG_DESTROY)");
            return;
          }
        }
      }
      if (ended > 0) {
        LOG.info("pod {}: {} connections from before its capture ended", pod.spec.ref(), ended);
      }
    } catch (SyscallException | IOException e) {
      tell(pod, String.valueOf(e.getMessage()));
    }
  }

  /// Connections to elsewhere whose port here is no server's.
  private static List<TcpSocket> begunInside(NetworkNamespace namespace, List<TcpSocket> all)
      throws IOException {
    Set<InetAddress> here = new HashSet<>(NamespaceAddresses.of(namespace));
    Set<Integer> served = new HashSet<>();
    List<TcpSocket> connections = new ArrayList<>();
    for (TcpSocket socket : all) {
      if (socket.isListening()) {
        served.add(socket.flow().sourcePort());
      } else {
        connections.add(socket);
      }
    }
    connections.removeIf(
        socket -> served.contains(socket.flow().sourcePort()) || staysHere(socket.flow(), here));
    return connections;
  }

  private static boolean staysHere(FlowTuple flow, Set<InetAddress> here) {
    InetAddress to = flow.destinationAddress();
    return to.isLoopbackAddress() || to.equals(flow.sourceAddress()) || here.contains(to);
  }

  private void tell(CapturedPod pod, String why) {
    if (!told) {
      told = true;
      LOG.warn(
          "pod {}: connections from before its capture end at the next packet that it sends, and go"
              + " on where the server speaks first, here and in other closed pods: {}",
          pod.spec.ref(),
          why);
    }
  }
}
