package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.accept.InterceptListener;
import io.tailwater.agent.dataplane.dns.DnsPort;
import io.tailwater.agent.dataplane.dns.DnsProxy;
import io.tailwater.agent.dataplane.flow.PodsByAddress;
import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.agent.dataplane.flow.Workers;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.transport.NodeListening;
import io.tailwater.agent.dataplane.transport.NodeSockets;
import io.tailwater.agent.dataplane.transport.Transport;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.iptables.apply.InstallReport;
import io.tailwater.iptables.apply.NodeTrafficRules;
import io.tailwater.iptables.apply.NodeTrafficRules.Installed;
import io.tailwater.iptables.apply.NodeTrafficRules.Standing;
import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.iptables.apply.RulesException;
import io.tailwater.iptables.apply.TrafficRules;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.HostSide;
import io.tailwater.iptables.netlink.Link;
import io.tailwater.iptables.netlink.LoggedPacket;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netlink.PacketLog;
import io.tailwater.iptables.netlink.Routing;
import io.tailwater.iptables.netns.NamespaceAddresses;
import io.tailwater.iptables.netns.NetnsException;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.EarlierConnections;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.iptables.rule.NodePlan;
import io.tailwater.iptables.rule.StandingPods.StandingPod;
import io.tailwater.iptables.rule.Strictness;
import java.io.IOException;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Consumer;
import java.util.stream.Collectors;
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

  private static final Optional<Integer> LOG_GROUP = Optional.of(PacketLog.GROUP);

  private final CaptureConfig config;
  private final TrafficRules rules;
  private final NodeTrafficRules nodeRules;
  private final RuleKeeper keeper;
  private final Transport transport;
  private final Workers workers;
  private final CurrentRoutes routes;
  private final NetlinkPoller poller;
  private final PodGuards guards;
  private final CapturePace pace;
  private final Runnable wake;
  private final Optional<KernelPasses> passes;
  private final NetworkNamespace node = NetworkNamespace.current();
  private final PodsByAddress pods = new PodsByAddress();
  private final NodeListeners listeners;
  private final Optional<Integer> questionsPerPod;

  /// The pods that are taken, with what the node knows of them.
  private final Map<CapturedPod, HostSide> taken = new LinkedHashMap<>();

  private final LingeringPods lingering;
  private final NodeOpening opening;
  private final Ipv6OfNode ipv6;

  private final LongAdder notified = new LongAdder();
  private final LongAdder swept = new LongAdder();
  private @Nullable Routing routing;
  private @Nullable NodePlan installed;

  /// The last installation found less than there should have been.
  private boolean putBack;

  private @Nullable DriftWatch watch;

  private final NodeHolds holds = new NodeHolds(node);

  /// No rule needs the routes any more, but connections do.
  private boolean routesStay;

  private boolean uninstalled;
  private NetlinkPoller.@Nullable Watch log;
  private int unloggedTries;
  private boolean unwatchable;
  private volatile boolean changed;

  /// The pods by the numbers of their interfaces on the node.
  private volatile Map<Integer, Pod> senders = Map.of();

  private long nextVerifyNanos = System.nanoTime();
  private long lastLookNanos = nextVerifyNanos;
  private long nextTellNanos = nextVerifyNanos;
  private String backend = "";
  private boolean ipv6Absent;

  /// @param dns answers the pods' DNS; there where it is captured
  /// @param wake asks for a round soon; any thread
  OnNode(
      CaptureConfig config,
      TrafficRules rules,
      RuleKeeper keeper,
      Transport transport,
      Workers workers,
      CurrentRoutes routes,
      NetlinkPoller poller,
      Optional<DnsProxy> dns,
      PodGuards guards,
      CapturePace pace,
      Optional<KernelPasses> passes,
      Runnable wake) {
    this.passes = passes;
    this.opening = new NodeOpening(node, keeper, rules.programs().backend());
    this.listeners = new NodeListeners(workers, routes, pods, dns);
    this.questionsPerPod = dns.map(proxy -> proxy.config().queriesPerPodPerSecond());
    this.config = config;
    this.rules = rules;
    this.nodeRules = new NodeTrafficRules(rules);
    this.lingering =
        new LingeringPods(
            new LeftPods(guards.stateDir(), node.id()),
            node,
            nodeRules,
            those -> common(those, List.of(), false),
            this::closedPlan);
    this.ipv6 = new Ipv6OfNode(node, poller, guards.observer(), wake);
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
    taken.forEach((other, theirs) -> {
      if (other != pod && usable.stream().anyMatch(theirs.interfaces()::contains)) {
        throw new NodeCaptureException(
            "its interfaces "
                + usable
                + " are those of "
                + other.spec.ref()
                + ", which is captured already: is its namespace listed twice?");
      }
    });
    ServedPod served = pod.served;
    if (served == null) {
      served = serve(pod, side);
      Optional<ServedPod> other = pods.add(served);
      if (other.isPresent()) {
        throw new NodeCaptureException(
            "its address is that of " + other.get().pod().ref() + ", which is captured already");
      }
      pod.served = served;
      listeners.answer(served);
    }
    passes.ifPresent(all -> all.openOnNode(pod, namespace, node));
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
    if (ipv6.isBlocked() && now - nextTellNanos >= 0) {
      nextTellNanos = now + pace.lookNanos();
      ipv6.tellRefused(closedInterfaces());
    }
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
      CapturePlan before = pod.installed;
      CapturePlan brought = planOf(pod, served);
      pod.backend = backend;
      pod.installed = brought;
      pod.ipv6 = ipv6Of(brought);
      NetworkNamespace namespace = pod.namespace;
      if (namespace != null) {
        keeper.earlier().endOnNode(pod, namespace, node, before, brought);
      }
    }
    pod.changed = false;
    pod.nextVerifyNanos = now + sweepNanos();
  }

  private String ipv6Of(CapturePlan plan) {
    if (ipv6.isBlocked()) {
      return plan.strictness().closed() ? "blocked" : "uncaptured";
    }
    return ipv6Absent ? "absent" : "captured";
  }

  private void bringTogether(long now) throws Exception {
    watchRules();
    listenToRefusals();
    if (installed == null) {
      lingering.recall(routing().links());
    }
    RuntimeException deaf = null;
    try {
      listen();
    } catch (InterceptListener.ListenException | DnsPort.ListenException e) {
      deaf = e; // rules without a listener refuse, which is right for closed pods only
    }
    opening.ask(plan(deaf != null).failsOpen());
    NodePlan plan = plan(deaf != null);
    boolean told = changed;
    changed = false;
    lastLookNanos = System.nanoTime();
    boolean verify = told || now - nextVerifyNanos >= 0;
    if (!plan.equals(installed) || verify) {
      boolean standing = plan.equals(installed);
      boolean drifted = standing && tellDrift(plan, told);
      installPass(plan, deaf != null);
      if (standing && !drifted && putBack) {
        LOG.warn("the rules of the node have changed while they were looked at; they are back");
        (told ? notified : swept).increment();
      }
      opening.renew();
      nextVerifyNanos = now + sweepNanos();
    } else if (ipv6.isStale()) {
      ipv6.refresh(plan);
    }
    if (deaf != null) {
      throw deaf;
    }
  }

  /// What a closed pod has by the configuration of now.
  private CapturePlan closedPlan(StandingPod pod) {
    return onNode(
            CapturePlan.egress().toBuilder()
                .udp(keeper.udp(true))
                .earlier(EarlierConnections.CUT)
                .dnsPort(config.dns() ? Optional.of(CapturePlan.DNS_PORT) : Optional.empty())
                .kernelPass(pod.kernelPass() ? Optional.of(KernelPass.STANDARD) : Optional.empty())
                .build(),
            true)
        .build();
  }

  /// Whether something was told.
  private boolean tellDrift(NodePlan plan, boolean told) {
    Standing found = nodeRules.verify(node, plan);
    if (found.isWhole() || found.ipv6Lacks().isPresent() != ipv6.isBlocked()) {
      return false; // whether IPv6 can be captured is told by what comes
    }
    LOG.warn(
        "the rules of the node have changed ({}, {}{}); putting them back",
        told ? "notified" : "found by a sweep",
        found.drift(),
        found.beside().isEmpty() ? "" : ", " + found.beside());
    (told ? notified : swept).increment();
    return true;
  }

  /// Where the rules cannot have the kernel pass, everything is relayed. Where there can be none
  /// for IPv6, without it either, that is blocked, and IPv4 keeps the pass.
  private void installPass(NodePlan plan, boolean closedOnly) {
    boolean passing = taken.keySet().stream().anyMatch(pod -> pod.pass != null || pod.passWaits);
    try {
      install(plan, passing);
    } catch (RulesException e) {
      if (!passing) {
        throw e;
      }
      if (e.family().filter(IpFamily.V6::equals).isPresent() && !nodeRules.takesIpv6()) {
        install(plan, false);
        return;
      }
      taken.keySet().forEach(pod -> keeper.withoutPass(pod, e));
      install(plan(closedOnly), false);
    }
  }

  /// @param whole IPv6 is to be captured too, or else nothing is to change
  private void install(NodePlan plan, boolean whole) {
    List<Link> links = routing().links();
    senders = senders(taken, links);
    lingering.save(captured(), links); // first: what is not written down may be lost
    boolean none = plan.pods().isEmpty() && plan.strangers().isEmpty();
    routesStay = none && holds.needRoutes();
    if (none) {
      holds.unguard();
      if (routesStay) {
        nodeRules.removeRules(node);
      } else {
        nodeRules.remove(node);
      }
    } else {
      // Of a repair the agent hears itself and looks once more: somebody may flush again meanwhile.
      DriftWatch own = plan.equals(installed) ? null : watch;
      if (own != null) {
        own.pause();
      }
      try {
        holds.guard(plan, ipv6.isBlocked()); // first: rules of iptables come table by table
        opening.make(); // before the rules that ask them
        installed(
            whole
                ? new Installed(nodeRules.installBoth(node, plan), Optional.empty())
                : nodeRules.install(node, plan));
        holds.guard(plan, ipv6.isBlocked());
        holds.hold();
      } finally {
        if (own != null) {
          own.resume();
        }
      }
    }
    installed = plan;
  }

  private void installed(Installed now) {
    backend = now.report().backend().toString();
    putBack =
        now.report().families().values().stream()
                .map(InstallReport.Outcome::state)
                .anyMatch(InstallReport.State.REPAIRED::equals)
            || now.report().outcome(IpFamily.V4).state() == InstallReport.State.INSTALLED;
    InstallReport.Outcome six = now.report().outcome(IpFamily.V6);
    ipv6Absent = six == null || six.state() == InstallReport.State.SKIPPED;
    if (ipv6.installed(now)) {
      taken.keySet().stream()
          .filter(pod -> pod.installed != null)
          .forEach(pod -> pod.ipv6 = ipv6Of(pod.installed));
    }
  }

  private void listen() {
    if (!taken.isEmpty()) {
      listeners.open(new NodeListening(transport, poller, NodePlan.ACCEPTED.value(), hasIpv6()));
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
        wanted.add(rules(pod, served, side));
      }
    });
    lingering.addTo(wanted, () -> routing().links());
    return common(wanted, config.interfaces(), strangersPass() && opening.isPossible());
  }

  private NodePlan common(List<NodePlan.Pod> of, List<String> strangers, boolean failOpen) {
    return new NodePlan(of, strangers, failOpen, LOG_GROUP, questionsPerPod);
  }

  private NodePlan.Pod rules(CapturedPod pod, ServedPod served, HostSide side) {
    return new NodePlan.Pod(side.interfaces(), side.addresses(), planOf(pod, served));
  }

  private List<LeftPods.Left> captured() {
    List<LeftPods.Left> all = new ArrayList<>();
    taken.forEach((pod, side) -> {
      ServedPod served = pod.served;
      if (served != null) {
        all.add(new LeftPods.Left(pod.spec.ref(), rules(pod, served, side)));
      }
    });
    return all;
  }

  /// Nobody knows what policy strangers have: where that decides, they are refused.
  private boolean strangersPass() {
    return config.onFailure() == CaptureConfig.OnFailure.OPEN;
  }

  /// Inbound is not captured here. Marks are nobody's secret: the pods' own do not come so far.
  private CapturePlan planOf(CapturedPod pod, ServedPod served) {
    boolean closed = keeper.isClosed(served);
    CapturePlan plan = keeper.plan(pod, served);
    return onNode(plan, closed).failsOpen(plan.failsOpen() && opening.isPossible()).build();
  }

  private CapturePlan.Builder onNode(CapturePlan plan, boolean closed) {
    return plan.toBuilder()
        .inbound(Optional.empty())
        .strictness(
            Strictness.NONE
                .withClosed(closed)
                .withKnownProtocolsOnly(closed && config.udp() != CaptureConfig.Udp.OFF)
                .withLog(PacketLog.GROUP));
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

  /// What the kernel refuses is told, each packet of the pod that has its source address. A log
  /// group that somebody else has is tried again with each look; met for the first time it may well
  /// be the agent that this one takes over from.
  private void listenToRefusals() {
    if (log != null) {
      return;
    }
    try {
      log =
          poller.add(
              PacketLog.open(node, PacketLog.GROUP),
              new PacketLog(
                  packet ->
                      new KernelRefusals(
                              sender(packet), guards.observer(), guards.numbers(), () -> {})
                          .logged(packet),
                  guards.numbers()::lost));
    } catch (SyscallException e) {
      if (++unloggedTries == 2) {
        LOG.warn(
            "what the kernel refuses on the node is not told: {}; trying again", e.getMessage());
      }
    }
  }

  /// Whose interface it came in by, whatever its source; answers that are refused by their source.
  private Pod sender(LoggedPacket packet) {
    Pod byInterface = senders.get(packet.incoming());
    return byInterface != null
        ? byInterface
        : packet.source().flatMap(pods::at).map(ServedPod::pod).orElse(Pod.UNKNOWN);
  }

  private static Map<Integer, Pod> senders(Map<CapturedPod, HostSide> taken, List<Link> links) {
    Map<String, Integer> numbers =
        links.stream().collect(Collectors.toMap(Link::name, Link::index, (one, _) -> one));
    Map<Integer, Pod> senders = new HashMap<>();
    taken.forEach((pod, side) -> {
      ServedPod served = pod.served;
      if (served != null) {
        side.interfaces()
            .forEach(name -> senders.put(numbers.getOrDefault(name, -1), served.pod()));
      }
    });
    return senders;
  }

  private Map<String, Pod> closedInterfaces() {
    Map<String, Pod> closed = new HashMap<>();
    taken.forEach((pod, side) -> {
      ServedPod served = pod.served;
      if (served != null && keeper.isClosed(served)) {
        side.interfaces().forEach(name -> closed.put(name, served.pod()));
      }
    });
    return closed;
  }

  private long sweepNanos() {
    return watch != null && !ipv6.isBlocked() ? pace.sweepNanos() : pace.unnotifiedNanos();
  }

  @Override
  public long dueNanos(long now) {
    if (taken.isEmpty() && installed == null) {
      return now + Long.MAX_VALUE / 2;
    }
    // Others change rules on a node all the time: between two looks they are let settle.
    long settled = lastLookNanos + pace.settleNanos();
    return (changed || ipv6.isStale()) && settled - nextVerifyNanos < 0 ? settled : nextVerifyNanos;
  }

  @Override
  public void release(CapturedPod pod, boolean removeRules, boolean endConnections) {
    HostSide side = taken.remove(pod);
    ServedPod served = pod.served;
    if (side != null && served != null && !removeRules) {
      lingering.keep(pod.spec.ref(), rules(pod, served, side));
    } else if (removeRules) {
      lingering.forget(pod.spec.ref());
    }
    passes.ifPresent(all -> {
      if (endConnections) {
        all.close(pod);
      } else {
        all.leave(pod, false);
      }
    });
    if (served != null) {
      pods.remove(served);
      listeners.forget(served);
      if (endConnections) {
        workers.endAll(served);
      } else {
        holds.goesOn(served);
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

  /// The listener is common to all, and the rules stay.
  @Override
  public void handOver(CapturedPod pod) {
    passes.ifPresent(all -> all.leave(pod, true));
  }

  @Override
  public void tookOver(Collection<CapturedPod> all, long now) {
    unloggedTries = 0;
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
    ipv6.close();
    boolean uninstall = how == CaptureLoop.Leave.UNINSTALL;
    try {
      if (how == CaptureLoop.Leave.TO_ANOTHER) {
        listeners.finish();
        return;
      }
      if (!uninstall && installed == null) {
        return; // what an agent before has left stays
      }
      boolean opens = uninstall || (strangersPass() && !opening.isAsked());
      NodePlan left =
          common(
              uninstall ? List.of() : plan(false).pods(),
              opens ? List.of() : config.interfaces(),
              strangersPass() && opening.isAsked());
      if (!left.equals(installed)) {
        install(left, false);
      }
      opening.open();
      ipv6.letPass(left);
      uninstalled = uninstall;
    } catch (RulesException e) {
      LOG.error("the rules of the node could not be removed: {}", e.getMessage());
    } finally {
      close();
    }
  }

  @Override
  public synchronized boolean finish(boolean now) {
    if (!now && routesStay && holds.needRoutes()) {
      return false;
    }
    if (routesStay) {
      routesStay = false;
      try {
        nodeRules.removeRoutes(node);
      } catch (RulesException e) {
        LOG.error("the routes of the node could not be removed: {}", e.getMessage());
      }
    }
    if (uninstalled) {
      uninstalled = false;
      opening.undo();
      holds.close();
    }
    node.close();
    return true;
  }

  private void close() {
    holds.unguard();
    listeners.close();
    opening.expire();
    if (routing != null) {
      routing.close();
      routing = null;
    }
  }

  @Override
  public boolean letPass(CapturedPod pod) {
    return opening.isAsked() && pod.installed != null && pod.installed.failsOpen();
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
