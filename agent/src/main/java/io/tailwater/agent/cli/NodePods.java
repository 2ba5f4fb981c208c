package io.tailwater.agent.cli;

import io.tailwater.agent.config.AgentConfig;
import io.tailwater.agent.control.capture.CaptureConfig;
import io.tailwater.agent.control.capture.PodEvent;
import io.tailwater.agent.control.capture.PodFolder;
import io.tailwater.agent.control.capture.PodSpec;
import io.tailwater.agent.control.capture.WatchedPods;
import io.tailwater.agent.dataplane.dns.DnsProxyConfig;
import io.tailwater.iptables.netlink.HostSide;
import io.tailwater.iptables.netlink.PacketLog;
import io.tailwater.iptables.netlink.Routing;
import io.tailwater.iptables.netns.NamespaceAddresses;
import io.tailwater.iptables.netns.NetnsException;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.NodePlan;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;

/// What the `rules` command plans for the node: the pods that the configuration names now, all with
/// the same plan.
final class NodePods {
  private NodePods() {}

  /// A plan to look at, without a node.
  static NodePlan example(CapturePlan plan) {
    return new NodePlan(
        List.of(
            new NodePlan.Pod(
                List.of("veth0"),
                List.of(InetAddress.ofLiteral("10.244.0.2"), InetAddress.ofLiteral("fd00::2")),
                plan)),
        List.of(),
        false,
        Optional.empty(),
        Optional.of(DnsProxyConfig.DEFAULTS.queriesPerPodPerSecond()));
  }

  /// The pods that are there now.
  ///
  /// @throws NetnsException when a listed namespace cannot be looked into
  static NodePlan of(NetworkNamespace node, AgentConfig config, CapturePlan plan) {
    List<NodePlan.Pod> pods = new ArrayList<>();
    try (Routing routing = Routing.open(node)) {
      for (PodSpec spec : specs(config)) {
        try (NetworkNamespace pod = NetworkNamespace.open(Path.of(spec.netns()))) {
          List<InetAddress> ips = spec.ips().isEmpty() ? NamespaceAddresses.of(pod) : spec.ips();
          HostSide side = HostSide.of(routing, pod, ips);
          if (!side.interfaces().isEmpty()) {
            pods.add(new NodePlan.Pod(side.interfaces(), side.addresses(), plan));
          }
        } catch (IOException e) {
          throw new NetnsException(
              "cannot read the addresses in " + spec.netns() + ": " + e.getMessage(), e);
        }
      }
    }
    boolean strangersPass = config.capture().onFailure() == CaptureConfig.OnFailure.OPEN;
    return new NodePlan(
        pods,
        config.capture().interfaces(),
        strangersPass && plan.failsOpen(),
        Optional.of(PacketLog.GROUP),
        Optional.of(config.dnsProxy().queriesPerPodPerSecond()));
  }

  /// The listed ones, and what is in watched folders now.
  private static List<PodSpec> specs(AgentConfig config) {
    List<PodSpec> specs = new CopyOnWriteArrayList<>(config.pods());
    for (PodFolder folder : config.podFolders()) {
      try (WatchedPods watched = new WatchedPods(folder, config.pods())) {
        watched.start(event -> {
          if (event instanceof PodEvent.Wanted(PodSpec pod)) {
            specs.add(pod);
          }
        });
      }
    }
    return List.copyOf(specs);
  }
}
