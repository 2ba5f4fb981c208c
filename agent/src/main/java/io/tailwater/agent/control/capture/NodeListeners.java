package io.tailwater.agent.control.capture;

import io.netty.channel.EventLoop;
import io.tailwater.agent.dataplane.accept.InterceptListener;
import io.tailwater.agent.dataplane.dns.DnsClient;
import io.tailwater.agent.dataplane.dns.DnsPort;
import io.tailwater.agent.dataplane.dns.DnsProxy;
import io.tailwater.agent.dataplane.dns.NodeDnsPort;
import io.tailwater.agent.dataplane.flow.PodsByAddress;
import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.agent.dataplane.flow.Worker;
import io.tailwater.agent.dataplane.flow.Workers;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.transport.NodeListening;
import io.tailwater.iptables.rule.CapturePlan;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/// What listens on the node for all pods: one port for TCP, one for DNS. Capture thread only.
final class NodeListeners {
  private final Workers workers;
  private final CurrentRoutes routes;
  private final PodsByAddress pods;
  private final Optional<DnsProxy> dns;

  /// Who asks; read on the poller's thread and on loops.
  private final Map<ServedPod, DnsClient> askers = new ConcurrentHashMap<>();

  private @Nullable InterceptListener listener;
  private @Nullable NodeDnsPort dnsPort;

  /// @param dns who answers captured DNS; there where it is captured
  NodeListeners(Workers workers, CurrentRoutes routes, PodsByAddress pods, Optional<DnsProxy> dns) {
    this.workers = workers;
    this.routes = routes;
    this.pods = pods;
    this.dns = dns;
  }

  /// Opens what is not open yet.
  ///
  /// @throws InterceptListener.ListenException when the port cannot be had
  /// @throws DnsPort.ListenException when that of DNS cannot be had
  void open(NodeListening node) {
    List<Worker> all = workers.all();
    if (listener == null) {
      QueuedConnections.migrate();
      listener =
          InterceptListener.open(
              node,
              CapturePlan.OUTBOUND_PORT,
              all.stream().map(worker -> worker.lineFor(pods)).toList());
    }
    if (dnsPort == null && dns.isPresent()) {
      dnsPort =
          NodeDnsPort.open(
              node,
              CapturePlan.DNS_PORT,
              all.getFirst().loop(),
              from -> pods.at(from).map(askers::get),
              dns.get());
    }
  }

  /// The pod's questions are answered from now on, all on one loop; pods are spread over them.
  void answer(ServedPod pod) {
    dns.ifPresent(proxy -> {
      List<Worker> all = workers.all();
      EventLoop loop = all.get(Math.floorMod(pod.pod().ref().hashCode(), all.size())).loop();
      askers.put(
          pod,
          new DnsClient(
              pod.pod(),
              loop,
              () -> pod.view(routes.get()),
              pod.captureDns(),
              proxy.config().queriesPerPodPerSecond()));
    });
  }

  void forget(ServedPod pod) {
    askers.remove(pod);
  }

  /// Stops accepting, because another agent does; questions that have come are answered.
  void finish() {
    if (dnsPort != null) {
      dnsPort.finish();
      dnsPort = null;
    }
    close();
  }

  /// Stops accepting; what was accepted goes on.
  void close() {
    if (listener != null) {
      listener.close();
      listener = null;
    }
    if (dnsPort != null) {
      dnsPort.close();
      dnsPort = null;
    }
  }
}
