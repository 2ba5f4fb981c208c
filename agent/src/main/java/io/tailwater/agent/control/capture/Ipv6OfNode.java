package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.PacketObserver;
import io.tailwater.agent.traffic.ClientAddress;
import io.tailwater.agent.traffic.Direction;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.iptables.apply.NodeIpv6Block;
import io.tailwater.iptables.apply.NodeTrafficRules.Installed;
import io.tailwater.iptables.apply.RulesException;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.Interfaces;
import io.tailwater.iptables.netlink.Ipv6PolicyRules;
import io.tailwater.iptables.netlink.NetlinkMessages;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netlink.NetlinkSocket;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.NodePlan;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Whether the node's rules capture IPv6, or what closed pods and strangers send over it is blocked
/// because there can be no such rules. While it is blocked new interfaces are met at once: they may
/// be strangers', or else they are to be spared. Capture thread, but for what the kernel tells.
final class Ipv6OfNode implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Ipv6OfNode.class);

  private static final Path COUNTERS = Path.of("/proc/thread-self/net/dev_snmp6");
  private static final InetAddress ANY = InetAddress.ofLiteral("::");

  private final NetworkNamespace node;
  private final NetlinkPoller poller;
  private final Runnable wake;
  private final PacketObserver observer;
  private Optional<String> lacks = Optional.empty();
  private NetlinkPoller.@Nullable Watch watch;
  private boolean unwatchable;

  /// How many packets of each interface found no way, at the last look.
  private final Map<String, Long> refused = new HashMap<>();

  /// Interfaces or policy rules have changed since. Set by the poller's thread.
  private volatile boolean stale;

  /// @param observer is told what was refused
  /// @param wake asks for a round soon; any thread
  Ipv6OfNode(NetworkNamespace node, NetlinkPoller poller, PacketObserver observer, Runnable wake) {
    this.observer = observer;
    this.node = node;
    this.poller = poller;
    this.wake = wake;
  }

  /// Whether it is blocked and not captured.
  boolean isBlocked() {
    return lacks.isPresent();
  }

  /// Whether what blocks is to be looked at.
  boolean isStale() {
    return isBlocked() && stale;
  }

  /// What was installed. Whether that is something else than before.
  boolean installed(Installed now) {
    boolean turned = lacks.isPresent() != now.ipv6Lacks().isPresent();
    lacks = now.ipv6Lacks();
    if (lacks.isPresent()) {
      listen();
    } else {
      close();
    }
    if (turned) {
      lacks.ifPresentOrElse(
          why ->
              LOG.error(
                  "IPv6 cannot be captured on the node ({}); what closed pods and unknown"
                      + " interfaces send over it is prohibited by policy rules, what open pods"
                      + " send passes; trying again",
                  why),
          () -> LOG.info("IPv6 is captured on the node again"));
    }
    return turned;
  }

  /// Brings what blocks up to date.
  ///
  /// @throws RulesException where it cannot be
  void refresh(NodePlan plan) {
    stale = false;
    NodeIpv6Block.install(node, plan);
  }

  /// Tells what was refused since the last time. Policy rules log nothing, so what is known is how
  /// many packets of an interface the kernel found no way for.
  ///
  /// @param senders the pods whose interfaces are blocked
  void tellRefused(Map<String, Pod> senders) {
    if (!isBlocked()) {
      return;
    }
    refused.keySet().retainAll(senders.keySet());
    senders.forEach((name, pod) -> {
      long now = withoutWay(name);
      Long before = refused.put(name, now);
      if (before != null && now > before) {
        observer.refused(
            new ConnectionRecord(
                0,
                pod,
                Direction.OUTBOUND,
                new ClientAddress(ANY, 0),
                new OriginalDst(ANY, 0),
                Instant.now(),
                System.nanoTime()),
            Refusal.IPV6,
            (now - before) + " packets over IPv6 of interface " + name);
      }
    });
  }

  /// A device's counter, in the namespace that the capture thread is in.
  private static long withoutWay(String name) {
    try {
      return Files.readAllLines(COUNTERS.resolve(name)).stream()
          .filter(line -> line.startsWith("Ip6InNoRoutes"))
          .mapToLong(line -> Long.parseLong(line.substring("Ip6InNoRoutes".length()).strip()))
          .sum();
    } catch (IOException | NumberFormatException _) {
      return 0; // the interface is gone
    }
  }

  /// No agent lives from now on: pods and strangers that pass then do so over IPv6 too.
  void letPass(NodePlan plan) {
    if (isBlocked()) {
      NodeIpv6Block.install(
          node,
          new NodePlan(
              plan.pods().stream().filter(pod -> !pod.plan().failsOpen()).toList(),
              plan.strangersFailOpen() ? List.of() : plan.strangers(),
              plan.log()));
    }
  }

  private void listen() {
    if (watch != null || unwatchable) {
      return;
    }
    try {
      watch =
          poller.add(
              NetlinkSocket.open(
                  node, NetlinkSocket.ROUTE, Interfaces.CHANGES, Ipv6PolicyRules.CHANGES),
              new Changes());
    } catch (SyscallException e) {
      unwatchable = true;
      LOG.warn("new interfaces of the node are noticed by the sweep only: {}", e.getMessage());
    }
  }

  private final class Changes implements NetlinkPoller.Receiver {
    @Override
    public void received(NetlinkMessages messages) {
      lost();
    }

    @Override
    public void lost() {
      stale = true;
      wake.run();
    }
  }

  /// Listens no more; what blocks stays.
  @Override
  public void close() {
    if (watch != null) {
      watch.close();
      watch = null;
    }
    stale = false;
  }
}
