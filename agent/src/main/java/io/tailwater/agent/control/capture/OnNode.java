package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.accept.InterceptListener;
import io.tailwater.agent.dataplane.accept.InterceptListener.ListenException;
import io.tailwater.agent.dataplane.flow.PodsByAddress;
import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.agent.dataplane.flow.Workers;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.transport.NodeListening;
import io.tailwater.agent.dataplane.transport.NodeSockets;
import io.tailwater.agent.dataplane.transport.Transport;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.iptables.apply.InstallReport;
import io.tailwater.iptables.apply.PolicyRoutes;
import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.iptables.apply.RulesException;
import io.tailwater.iptables.apply.TrafficRules;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.HostSide;
import io.tailwater.iptables.netlink.Link;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netlink.PacketLog;
import io.tailwater.iptables.netlink.Routing;
import io.tailwater.iptables.netns.NamespaceAddresses;
import io.tailwater.iptables.netns.NetnsException;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.NamespaceRules;
import io.tailwater.iptables.rule.NodePlan;
import io.tailwater.iptables.rule.Strictness;
import java.io.IOException;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// One listener and one set of rules for all pods, in the node's namespace, where no pod can touch
/// them. A pod is known by its source address, and the rules see to it that nobody else sends from
/// that.
///
/// The order is the same as in a pod: first it is known who the pods are, then the listener opens,
/// then rules bring it connections.
final class OnNode implements PodCapture {
  private static final Logger LOG = LoggerFactory.getLogger(OnNode.class);

  private final CaptureConfig config;
  private final TrafficRules rules;
  private final RuleKeeper keeper;
  private final Transport transport;
  private final Workers workers;
  private final CurrentRoutes routes;
  private final NetlinkPoller poller;
  private final PodGuards guards;
  private final CapturePace pace;
  private final Runnable wake;
  private final NetworkNamespace node = NetworkNamespace.current();
  private final PodsByAddress pods = new PodsByAddress();

  /// The pods that are taken, with what the node knows of them.
  private final Map<CapturedPod, HostSide> taken = new LinkedHashMap<>();

  /// What is kept of pods that were let go of while their rules have to stay: until their interface
  /// is gone.
  private final List<NodePlan.Pod> lingering = new ArrayList<>();

  private final LongAdder notified = new LongAdder();
  private final LongAdder swept = new LongAdder();
  private @Nullable Routing routing;
  private @Nullable InterceptListener listener;
  private @Nullable NodePlan installed;
  private @Nullable DriftWatch watch;
  private NetlinkPoller.@Nullable Watch log;
  private boolean unlogged;
  private boolean unwatchable;
  private volatile boolean changed;
  private long nextVerifyNanos = System.nanoTime();
  private long lastLookNanos = nextVerifyNanos;
  private String backend = "";
  private boolean ipv6Absent;

  /// @param wake asks for a round soon; any thread
  OnNode(
      CaptureConfig config,
      TrafficRules rules,
      RuleKeeper keeper,
      Transport transport,
      Workers workers,
      CurrentRoutes routes,
      NetlinkPoller poller,
      PodGuards guards,
      CapturePace pace,
      Runnable wake) {
    this.config = config;
    this.rules = rules;
    this.keeper = keeper;
    this.transport = transport;
    this.workers = workers;
    this.routes = routes;
    this.poller = poller;
    this.guards = guards;
    this.pace = pace;
    this.wake = wake;
  }

  /// A pod cannot be captured on the node.
  static final class NodeCaptureException extends RuntimeException {
    NodeCaptureException(String message) {
      super(message);
    }
  }

  @Override
  public void prepare(
      CapturedPod pod, NetworkNamespace namespace, Consumer<CapturedPod> changedOfPod) {
    HostSide side = HostSide.of(routing(), namespace, addresses(pod, namespace));
    List<String> usable = side.interfaces().stream().filter(this::isPattern).toList();
    if (usable.isEmpty()) {
      throw new NodeCaptureException(
          !side.problems().isEmpty()
              ? String.join("; ", side.problems())
              : side.interfaces().isEmpty()
                  ? "no interface of the pod ends on the node; is the namespace the pod's own?"
                  : side.interfaces() + " match nothing in capture.interfaces");
    }
    ServedPod served = pod.served;
    if (served == null) {
      served = serve(pod, side);
      Optional<ServedPod> other = pods.add(served);
      if (other.isPresent()) {
        throw new NodeCaptureException(
            "its address is that of " + other.get().pod().ref() + ", which is captured already");
      }
      pod.served = served;
    }
    taken.put(pod, new HostSide(usable, served.pod().ips(), side.problems()));
    if (!side.problems().isEmpty()) {
      // What comes by the node is captured; that the rest does not is to be seen.
      pod.failure = new NodeCaptureException(String.join("; ", side.problems()));
    }
  }

  private List<InetAddress> addresses(CapturedPod pod, NetworkNamespace namespace) {
    ServedPod served = pod.served;
    if (served != null) {
      return served.pod().ips();
    }
    if (!pod.spec.ips().isEmpty()) {
      return pod.spec.ips();
    }
    try {
      return NamespaceAddresses.of(namespace);
    } catch (IOException e) {
      throw new NetnsException(
          "cannot read the addresses in " + pod.spec.netns() + ": " + e.getMessage(), e);
    }
  }

  private ServedPod serve(CapturedPod pod, HostSide side) {
    if (side.addresses().isEmpty()) {
      throw new NodeCaptureException(
          "the node routes none of its addresses to " + side.interfaces());
    }
    PodSpec spec = pod.spec;
    return new ServedPod(
        new Pod(spec.ref(), spec.serviceAccount(), spec.labels(), side.addresses()),
        new NodeSockets(transport, NodePlan.UPSTREAM.value(), side.addresses()),
        routes.get());
  }

  private boolean isPattern(String name) {
    return config.interfaces().isEmpty()
        || config.interfaces().stream()
            .anyMatch(pattern ->
                pattern.endsWith("+")
                    ? name.startsWith(pattern.substring(0, pattern.length() - 1))
                    : name.equals(pattern));
  }

  private Routing routing() {
    if (routing == null) {
      routing = Routing.open(node);
    }
    return routing;
  }

  @Override
  public void bring(CapturedPod pod, NetworkNamespace namespace, ServedPod served, long now) {
    // the rules of all pods come together
  }

  @Override
  public void bringCommon(List<CapturedPod> due, long now) {
    if (due.isEmpty() && now - dueNanos(now) < 0) {
      return;
    }
    try {
      bringTogether(now);
      due.forEach(pod -> brought(pod, now));
    } catch (Exception e) { // Netty throws I/O failures undeclared
      due.forEach(pod -> pod.failure = e);
      if (due.isEmpty()) {
        LOG.error("the rules of the node: {}", e.getMessage());
        nextVerifyNanos = now + pace.lookNanos();
      }
    }
  }

  private void brought(CapturedPod pod, long now) {
    ServedPod served = pod.served;
    if (served != null) {
      pod.backend = backend;
      pod.installed = planOf(pod, served);
      pod.ipv6 =
          ipv6Absent
              ? "absent"
              : switch (pod.installed.ipv6()) {
                case CAPTURE -> "captured";
                case REFUSE -> "refused";
                case UNTOUCHED -> "uncaptured";
              };
    }
    pod.changed = false;
    pod.nextVerifyNanos = now + sweepNanos();
  }

  private void bringTogether(long now) throws Exception {
    watchRules();
    listenToRefusals();
    ListenException deaf = null;
    try {
      listen();
    } catch (ListenException e) {
      deaf = e; // rules without a listener refuse, which is right for closed pods only
    }
    NodePlan plan = plan(deaf != null);
    boolean told = changed;
    changed = false;
    lastLookNanos = System.nanoTime();
    boolean verify = told || now - nextVerifyNanos >= 0;
    if (!plan.equals(installed) || verify) {
      if (plan.equals(installed)) {
        tellDrift(plan, told);
      }
      install(plan);
      nextVerifyNanos = now + sweepNanos();
    }
    if (deaf != null) {
      throw deaf;
    }
  }

  private void tellDrift(NodePlan plan, boolean told) {
    List<String> missing = PolicyRoutes.NODE.verify(node);
    Drift drift = rules.verify(node, NamespaceRules.of(plan));
    if (missing.isEmpty() && drift instanceof Drift.None) {
      return;
    }
    LOG.warn(
        "the rules of the node have changed ({}, {}{}); putting them back",
        told ? "notified" : "found by a sweep",
        drift,
        missing.isEmpty() ? "" : ", missing " + missing);
    (told ? notified : swept).increment();
  }

  private void install(NodePlan plan) {
    if (plan.pods().isEmpty() && plan.strangers().isEmpty()) {
      rules.remove(node);
      PolicyRoutes.NODE.remove(node);
    } else {
      PolicyRoutes.NODE.install(node); // before the rules that mark for it
      if (watch != null) {
        watch.pause();
      }
      try {
        InstallReport report = rules.install(node, NamespaceRules.of(plan));
        backend = report.backend().toString();
        InstallReport.Outcome six = report.outcome(IpFamily.V6);
        ipv6Absent = six == null || six.state() == InstallReport.State.SKIPPED;
      } finally {
        if (watch != null) {
          watch.resume();
        }
      }
    }
    installed = plan;
  }

  private void listen() {
    if (listener == null && !taken.isEmpty()) {
      listener =
          InterceptListener.open(
              new NodeListening(transport, NodePlan.ACCEPTED.value(), hasIpv6()),
              CapturePlan.OUTBOUND_PORT,
              workers.all().stream().map(worker -> worker.lineFor(pods)).toList());
    }
  }

  private boolean hasIpv6() {
    return routing().wayTo(IpFamily.V6.localhost().address()).isPresent();
  }

  /// What is wanted now.
  private NodePlan plan(boolean closedOnly) {
    List<NodePlan.Pod> wanted = new ArrayList<>();
    taken.forEach((pod, side) -> {
      ServedPod served = pod.served;
      if (served != null && (!closedOnly || keeper.isClosed(served))) {
        wanted.add(new NodePlan.Pod(side.interfaces(), side.addresses(), planOf(pod, served)));
      }
    });
    if (!lingering.isEmpty()) {
      List<String> there = routing().links().stream().map(Link::name).toList();
      List<String> used = wanted.stream().flatMap(pod -> pod.interfaces().stream()).toList();
      lingering.removeIf(pod ->
          pod.interfaces().stream().noneMatch(there::contains)
              || pod.interfaces().stream().anyMatch(used::contains));
      wanted.addAll(lingering);
    }
    return new NodePlan(wanted, strangers(), Optional.of(PacketLog.GROUP));
  }

  /// DNS is not answered here yet, so that it passes; nor is inbound captured. Marks are nobody's
  /// secret here: the pods' own do not come so far.
  private CapturePlan planOf(CapturedPod pod, ServedPod served) {
    boolean closed = keeper.isClosed(served);
    return keeper.plan(pod, served).toBuilder()
        .dnsPort(Optional.empty())
        .inbound(Optional.empty())
        .strictness(
            Strictness.NONE
                .withClosed(closed)
                .withKnownProtocolsOnly(closed && config.udp() != CaptureConfig.Udp.OFF)
                .withLog(PacketLog.GROUP))
        .build();
  }

  private List<String> strangers() {
    return config.interfaces();
  }

  private void watchRules() {
    if (watch != null || unwatchable) {
      return;
    }
    if (rules.programs().backend() == RuleBackend.IPTABLES_LEGACY) {
      unwatchable = true;
      return;
    }
    try {
      watch =
          DriftWatch.open(
              node,
              poller,
              () -> {
                changed = true;
                wake.run();
              });
    } catch (SyscallException e) {
      unwatchable = true;
      LOG.warn("changes of the node's rules are not notified ({})", e.getMessage());
    }
  }

  /// What the kernel refuses is told, each packet of the pod that has its source address.
  private void listenToRefusals() {
    if (log != null || unlogged) {
      return;
    }
    try {
      log =
          poller.add(
              PacketLog.open(node, PacketLog.GROUP),
              new PacketLog(
                  packet ->
                      new KernelRefusals(
                              packet
                                  .source()
                                  .flatMap(pods::at)
                                  .map(ServedPod::pod)
                                  .orElse(Pod.UNKNOWN),
                              guards.observer(),
                              guards.numbers(),
                              () -> {})
                          .logged(packet),
                  guards.numbers()::lost));
    } catch (SyscallException e) {
      unlogged = true;
      LOG.warn("what the kernel refuses on the node is not told: {}", e.getMessage());
    }
  }

  private long sweepNanos() {
    return watch != null ? pace.sweepNanos() : pace.unnotifiedNanos();
  }

  @Override
  public long dueNanos(long now) {
    if (taken.isEmpty() && installed == null) {
      return now + Long.MAX_VALUE / 2;
    }
    // Others change rules on a node all the time: between two looks they are let settle.
    long settled = lastLookNanos + pace.settleNanos();
    return changed && settled - nextVerifyNanos < 0 ? settled : nextVerifyNanos;
  }

  @Override
  public void release(CapturedPod pod, boolean removeRules, boolean endConnections) {
    HostSide side = taken.remove(pod);
    ServedPod served = pod.served;
    if (side != null && served != null && !removeRules) {
      lingering.add(new NodePlan.Pod(side.interfaces(), side.addresses(), planOf(pod, served)));
    }
    if (served != null) {
      pods.remove(served);
      if (endConnections) {
        workers.endAll(served);
      }
      workers.all().forEach(worker -> worker.forget(served));
      pod.served = null;
    }
    if (pod.namespace != null) {
      pod.namespace.close();
      pod.namespace = null;
    }
    pod.installed = null;
    nextVerifyNanos = System.nanoTime(); // the rules follow in this round or the next
  }

  @Override
  public void handOver(CapturedPod pod) {
    // the listener is common to all, and the rules stay
  }

  @Override
  public void tookOver(Collection<CapturedPod> all, long now) {
    unlogged = false;
    nextVerifyNanos = now;
  }

  @Override
  public void leave(CaptureLoop.Leave how) {
    if (watch != null) {
      watch.close();
      watch = null;
    }
    if (log != null) {
      log.close();
      log = null;
    }
    boolean uninstall = how == CaptureLoop.Leave.UNINSTALL;
    try {
      if (how == CaptureLoop.Leave.TO_ANOTHER) {
        return;
      }
      if (!uninstall && installed == null) {
        return; // what an agent before has left stays
      }
      boolean opens = uninstall || config.onFailure() == CaptureConfig.OnFailure.OPEN;
      install(
          new NodePlan(
              uninstall ? List.of() : plan(false).pods(),
              opens ? List.of() : strangers(),
              Optional.of(PacketLog.GROUP)));
    } catch (RulesException e) {
      LOG.error("the rules of the node could not be removed: {}", e.getMessage());
    } finally {
      close();
    }
  }

  private void close() {
    if (listener != null) {
      listener.close();
      listener = null;
    }
    if (routing != null) {
      routing.close();
      routing = null;
    }
    node.close();
  }

  @Override
  public boolean letPass(CapturedPod pod) {
    return false; // rules on the node depend on no set
  }

  @Override
  public boolean opensOnLeave(@Nullable ServedPod served) {
    return keeper.opensOnLeave(served);
  }

  @Override
  public boolean foundInbound() {
    return false;
  }

  @Override
  public String noticed(CapturedPod pod) {
    return pod.installed == null
        ? ""
        : (watch != null ? "notified, swept every " : "swept every ")
            + TimeUnit.NANOSECONDS.toSeconds(sweepNanos())
            + " s";
  }

  @Override
  public long notifiedRepairs() {
    return notified.sum();
  }

  @Override
  public long sweptRepairs() {
    return swept.sum();
  }
}
