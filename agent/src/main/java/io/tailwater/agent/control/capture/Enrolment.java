package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.accept.InterceptListener;
import io.tailwater.agent.dataplane.dns.DnsClient;
import io.tailwater.agent.dataplane.dns.DnsPort;
import io.tailwater.agent.dataplane.dns.DnsProxy;
import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.agent.dataplane.flow.Worker;
import io.tailwater.agent.dataplane.flow.Workers;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.transport.AgentMark;
import io.tailwater.agent.dataplane.transport.InPodSockets;
import io.tailwater.agent.dataplane.transport.LoopbackPlace;
import io.tailwater.agent.dataplane.transport.Transport;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.iptables.netns.NamespaceAddresses;
import io.tailwater.iptables.netns.NetnsException;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/// Everything of a pod's capture but its rules: its namespace, who it is, its listeners. Step by
/// step, each done once; what was reached stays. Capture thread only.
final class Enrolment {

  /// Where the agent itself listens in a pod.
  private static final Set<Integer> OWN_PORTS =
      Set.of(
          CapturePlan.OUTBOUND_PORT,
          CapturePlan.Inbound.STANDARD.plaintextPort(),
          CapturePlan.DNS_PORT);

  private final Transport transport;
  private final Workers workers;
  private final CurrentRoutes routes;
  private final Optional<DnsProxy> dns;
  private final PodGuards guards;
  private final boolean inbound;

  /// @param dns who answers captured DNS
  /// @param inbound whether connections to the pods are captured too
  Enrolment(
      Transport transport,
      Workers workers,
      CurrentRoutes routes,
      Optional<DnsProxy> dns,
      PodGuards guards,
      boolean inbound) {
    this.inbound = inbound;
    this.transport = transport;
    this.workers = workers;
    this.routes = routes;
    this.dns = dns;
    this.guards = guards;
  }

  /// Opens the namespace.
  ///
  /// @throws NetnsException when there is none
  NetworkNamespace enter(CapturedPod pod) {
    if (pod.namespace == null) {
      pod.namespace = NetworkNamespace.open(Path.of(pod.spec.netns()));
    }
    return pod.namespace;
  }

  /// Finds out who the pod is and where its sockets are born.
  ServedPod serve(CapturedPod pod, NetworkNamespace namespace) {
    if (pod.guard == null) {
      pod.guard = guards.of(namespace);
    }
    if (pod.served == null) {
      pod.served = served(pod, namespace, pod.guard.marks().live());
    }
    return pod.served;
  }

  /// Opens the pod's listeners.
  ///
  /// @throws InterceptListener.ListenException when a port cannot be had
  /// @throws DnsPort.ListenException when that of DNS cannot be had
  void listen(CapturedPod pod, ServedPod served) {
    if (pod.listener == null && pod.place != null) {
      NetworkNamespace namespace = pod.namespace;
      if (namespace != null) {
        namespace.call(QueuedConnections::migrate);
      }
      pod.listener =
          InterceptListener.open(
              pod.place,
              CapturePlan.OUTBOUND_PORT,
              workers.all().stream().map(worker -> worker.lineFor(served)).toList());
    }
    if (inbound && pod.inboundListener == null && pod.place instanceof InPodSockets place) {
      pod.inboundListener =
          InterceptListener.open(
              place,
              CapturePlan.Inbound.STANDARD.plaintextPort(),
              workers.all().stream()
                  .map(worker -> worker.inboundLineFor(served, place, OWN_PORTS))
                  .toList());
    }
    if (pod.dns == null && pod.loopback != null && dns.isPresent()) {
      pod.dns = answerDns(pod.loopback, served, dns.get());
    }
  }

  /// All questions of a pod are answered on one loop; pods are spread over them.
  private DnsPort answerDns(LoopbackPlace place, ServedPod served, DnsProxy proxy) {
    List<Worker> all = workers.all();
    Worker one = all.get(Math.floorMod(served.pod().ref().hashCode(), all.size()));
    DnsClient client =
        new DnsClient(
            served.pod(),
            one.loop(),
            () -> served.view(routes.get()),
            served.captureDns(),
            proxy.config().queriesPerPodPerSecond());
    return DnsPort.open(place, CapturePlan.DNS_PORT, client, proxy);
  }

  /// Stops accepting. What was accepted goes on, and the namespace stays open for it.
  void listenNoMore(CapturedPod pod) {
    if (pod.listener != null) {
      pod.listener.close();
      pod.listener = null;
    }
    if (pod.inboundListener != null) {
      pod.inboundListener.close();
      pod.inboundListener = null;
    }
    if (pod.dns != null) {
      pod.dns.close();
      pod.dns = null;
    }
  }

  /// Stops accepting, because another agent does. Questions that have come are still answered.
  void handOver(CapturedPod pod) {
    DnsPort port = pod.dns;
    pod.dns = null;
    listenNoMore(pod);
    if (port != null) {
      port.finish();
    }
  }

  /// Lets go of all of it. Connections may go on without a listener.
  void letGo(CapturedPod pod, boolean endConnections) {
    listenNoMore(pod);
    ServedPod served = pod.served;
    if (served != null) {
      if (endConnections) {
        workers.endAll(served);
      }
      workers.all().forEach(worker -> worker.forget(served));
      pod.served = null;
    }
    if (pod.guard != null) {
      pod.guard.close();
      pod.guard = null;
    }
    if (pod.namespace != null) {
      pod.namespace.close();
      pod.namespace = null;
    }
  }

  private ServedPod served(CapturedPod captured, NetworkNamespace namespace, AgentMark mark) {
    PodSpec spec = captured.spec;
    List<InetAddress> ips = spec.ips();
    boolean ipv6;
    try {
      if (ips.isEmpty()) {
        ips = NamespaceAddresses.of(namespace);
      }
      ipv6 = namespace.call(Enrolment::hasIpv6);
    } catch (IOException e) {
      throw new NetnsException(
          "cannot read the addresses in " + spec.netns() + ": " + e.getMessage(), e);
    }
    Pod pod = new Pod(spec.ref(), spec.serviceAccount(), spec.labels(), ips);
    InPodSockets place = new InPodSockets(namespace, transport, mark, ipv6);
    captured.place = place;
    captured.loopback = place;
    return new ServedPod(pod, place, routes.get());
  }

  private static boolean hasIpv6() {
    try {
      Syscalls.close(
          Syscalls.socket(Syscalls.AF_INET6, Syscalls.SOCK_STREAM, Syscalls.IPPROTO_TCP));
      return true;
    } catch (SyscallException _) {
      return false;
    }
  }
}
