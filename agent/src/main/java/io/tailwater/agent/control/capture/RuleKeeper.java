package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.iptables.apply.AliveSets;
import io.tailwater.iptables.apply.InstallReport;
import io.tailwater.iptables.apply.Ipv6Block;
import io.tailwater.iptables.apply.PolicyRoutes;
import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.iptables.apply.RulesException;
import io.tailwater.iptables.apply.TrafficRules;
import io.tailwater.iptables.apply.TranslationHold;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.EarlierConnections;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.Ipv6;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.iptables.rule.UdpPolicy;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Keeps the rules of each pod as policy wants them: installs them, learns when somebody has
/// changed them, puts them back. A repair is one transaction, so that nothing passes unseen
/// meanwhile and no live connection is lost.
///
/// One thread at a time for each pod: the capture thread, or one that it waits for.
final class RuleKeeper {
  private static final Logger LOG = LoggerFactory.getLogger(RuleKeeper.class);

  /// How many sweeps go by until what IPv6 lacks is asked for again: each time costs programs.
  private static final int SWEEPS_WITHOUT_IPV6 = 5;

  /// Three times within the time of a set, so that one late renewal is none too few.
  private static final long RENEWAL_MILLIS = 1000;

  private static final Path TIMEOUT_CLOSE =
      Path.of("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close");

  private final CaptureConfig config;
  private final TrafficRules rules;

  /// For pods where those of IPv6 can be neither read nor written.
  private final TrafficRules rulesOfIpv4;

  private final CurrentRoutes routes;
  private final NetlinkPoller poller;
  private final CapturePace pace;
  private final Optional<KernelPasses> passes;
  private final EarlierSockets earlier = new EarlierSockets();

  /// Set by any thread of the crew, read when it is done.
  private volatile boolean foundInbound;

  private final Set<AliveSets> renewed = ConcurrentHashMap.newKeySet();
  private final LongAdder notified = new LongAdder();
  private final LongAdder swept = new LongAdder();

  RuleKeeper(
      CaptureConfig config,
      TrafficRules rules,
      CurrentRoutes routes,
      NetlinkPoller poller,
      CapturePace pace,
      Optional<KernelPasses> passes) {
    this.config = config;
    this.rules = rules;
    this.rulesOfIpv4 = rules.withoutIpv6();
    this.routes = routes;
    this.poller = poller;
    this.pace = pace;
    this.passes = passes;
    poller.every(RENEWAL_MILLIS, this::renew);
  }

  /// Repairs that a notification has led to. Any thread.
  long notifiedRepairs() {
    return notified.sum();
  }

  /// Repairs that a sweep has led to. Any thread.
  long sweptRepairs() {
    return swept.sum();
  }

  /// What ends connections that began before the rules.
  EarlierSockets earlier() {
    return earlier;
  }

  /// Listens for changes in the pod's namespace, where the kernel tells of them.
  void watch(CapturedPod pod, NetworkNamespace namespace, Consumer<CapturedPod> changed) {
    if (pod.watch != null || pod.unwatchable) {
      return;
    }
    if (rules.programs().backend() == RuleBackend.IPTABLES_LEGACY) {
      pod.unwatchable = true;
      return;
    }
    try {
      pod.watch = DriftWatch.open(namespace, poller, () -> changed.accept(pod));
    } catch (SyscallException e) {
      pod.unwatchable = true;
      LOG.warn(
          "pod {}: changes of its rules are not notified ({}); looking every {} s",
          pod.spec.ref(),
          e.getMessage(),
          TimeUnit.NANOSECONDS.toSeconds(pace.unnotifiedNanos()));
    }
  }

  /// How changes of rules are noticed, for people.
  String noticed(CapturedPod pod) {
    if (pod.installed == null) {
      return "";
    }
    long every = pod.watch != null ? pace.sweepNanos() : pace.unnotifiedNanos();
    String interval =
        every % 1_000_000_000 == 0
            ? TimeUnit.NANOSECONDS.toSeconds(every) + " s"
            : TimeUnit.NANOSECONDS.toMillis(every) + " ms";
    return (pod.watch != null ? "notified, swept every " : "swept every ") + interval;
  }

  /// Whether there is something to do about the pod's rules now.
  boolean isDue(CapturedPod pod, ServedPod served, long now) {
    PodGuard guard = pod.guard;
    return pod.changed
        || (guard != null && guard.dueIn(now) == 0)
        || now - pod.nextVerifyNanos >= 0
        || !plan(pod, served).equals(pod.installed);
  }

  /// Brings the rules to what is wanted, from whatever is there.
  void bring(CapturedPod pod, NetworkNamespace namespace, ServedPod served, long now) {
    PodGuard guard = pod.guard;
    if (guard != null) {
      guard.step(pod, now);
    }
    if (pod.ipv6Uncapturable && now - pod.ipv6TryNanos >= 0) {
      pod.ipv6Uncapturable = false;
      pod.ipv6Unrefusable = false;
    }
    CapturePlan plan = canFailOpen(pod, namespace, plan(pod, served));
    boolean told = pod.changed;
    pod.changed = false;
    if (plan.equals(pod.installed) && stands(pod, namespace, plan, served, told)) {
      if (guard != null && guard.bring(pod, namespace, served, plan, now)) {
        (told ? notified : swept).increment();
      }
      verified(pod, now);
      return;
    }
    // Of a repair the agent hears itself and looks once more, which is right: somebody may flush
    // again meanwhile. Many new pods would make many such looks; theirs come later, and spread.
    DriftWatch watch = pod.swept ? null : pod.watch;
    if (watch != null) {
      watch.pause();
    }
    try {
      if (plan.inbound().isPresent()) {
        PolicyRoutes.INBOUND.install(namespace); // before the rules that need them
      }
      if (plan.failsOpen()) {
        renewable(pod, namespace).make();
      }
      CapturePlan before = pod.installed;
      CapturePlan brought = installPass(pod, namespace, plan, served);
      pod.installed = brought;
      namespace.call(RuleKeeper::forgetReset); // conntrack is there by now
      blockIpv6(pod, namespace, served);
      tellIpv6(pod);
      living(pod);
      earlier.endInPod(pod, namespace, before, brought);
      hold(pod, namespace);
      if (plan.inbound().isEmpty()) {
        removeRoutes(pod, namespace); // an agent before may have captured inbound
      }
      if (guard != null) {
        guard.bring(pod, namespace, served, pod.installed, now);
      }
    } finally {
      if (watch != null) {
        watch.resume();
      }
    }
    verified(pod, now);
  }

  /// Whether all is there as it was left; tells and counts where it is not.
  private boolean stands(
      CapturedPod pod,
      NetworkNamespace namespace,
      CapturePlan plan,
      ServedPod served,
      boolean told) {
    Drift drift;
    try {
      drift = rules(pod, plan).verify(namespace, plan);
    } catch (RulesException e) {
      if (pod.ipv6Unrefusable || !isOfIpv6(e)) {
        throw e;
      }
      pod.ipv6Unrefusable = plan.ipv6() == Ipv6.UNTOUCHED;
      return false; // what works by now is found out by installing it
    }
    if (drift instanceof Drift.None
        && routesStand(pod, namespace, plan)
        && (!blocksIpv6(pod, served) || Ipv6Block.stands(namespace))) {
      return true;
    }
    LOG.warn(
        "pod {}: the rules have changed ({}, {}); putting them back",
        pod.spec.ref(),
        told ? "notified" : "found by a sweep",
        drift);
    (told ? notified : swept).increment();
    return false;
  }

  /// Whether traces of inbound capture were found and removed since the last call: an agent before
  /// was configured otherwise. Capture thread.
  boolean foundInbound() {
    boolean found = foundInbound;
    foundInbound = false;
    return found;
  }

  private static boolean routesStand(
      CapturedPod pod, NetworkNamespace namespace, CapturePlan plan) {
    if (plan.inbound().isEmpty()) {
      return true;
    }
    List<String> missing = PolicyRoutes.INBOUND.verify(namespace);
    if (!missing.isEmpty()) {
      LOG.warn("pod {}: somebody has removed {}", pod.spec.ref(), String.join(", ", missing));
    }
    return missing.isEmpty();
  }

  private void removeRoutes(CapturedPod pod, NetworkNamespace namespace) {
    try {
      if (PolicyRoutes.INBOUND.remove(namespace)) {
        foundInbound = true;
      }
    } catch (RulesException | SyscallException e) {
      LOG.error("pod {}: {}", pod.spec.ref(), e.getMessage());
    }
  }

  /// The plan, as far as the kernel can do it.
  private CapturePlan canFailOpen(CapturedPod pod, NetworkNamespace namespace, CapturePlan plan) {
    if (!plan.failsOpen()) {
      return plan;
    }
    try {
      renewable(pod, namespace);
      return plan;
    } catch (SyscallException e) {
      pod.cannotFailOpen = true;
      LOG.warn(
          "pod {}: should this agent be killed, what the pod begins is refused until one is back:"
              + " its rules cannot depend on a set ({}). The kernel needs ip_set_hash_net and"
              + " xt_set, or the backend nft",
          pod.spec.ref(),
          e.getMessage());
      return plan.withFailsOpen(false);
    }
  }

  private AliveSets renewable(CapturedPod pod, NetworkNamespace namespace) {
    if (pod.alive == null) {
      pod.alive = AliveSets.open(namespace, rules.programs().backend());
    }
    return pod.alive;
  }

  /// The rules stand: from now on the pod is renewed, or needs not be.
  private void living(CapturedPod pod) {
    AliveSets sets = pod.alive;
    if (sets == null) {
      return;
    }
    CapturePlan installed = pod.installed;
    if (installed != null && installed.failsOpen()) {
      keepAlive(sets);
    } else {
      renewedNoMore(pod);
    }
  }

  /// The sets are renewed from now on. Capture thread.
  void keepAlive(AliveSets sets) {
    synchronized (sets) {
      sets.renew(); // the first time at once
      renewed.add(sets);
    }
  }

  /// They are renewed no more, and closed; what they hold stays until its time is over.
  void letExpire(AliveSets sets) {
    synchronized (sets) {
      renewed.remove(sets);
      sets.close();
    }
  }

  /// They say from now on that no agent lives.
  void stop(AliveSets sets) {
    synchronized (sets) {
      renewed.remove(sets);
      sets.stop();
    }
  }

  private void renewedNoMore(CapturedPod pod) {
    AliveSets sets = pod.alive;
    if (sets != null) {
      pod.alive = null;
      letExpire(sets);
    }
  }

  /// Says of every pod that fails open that an agent lives. On the poller's thread.
  private void renew() {
    for (AliveSets sets : renewed) {
      synchronized (sets) {
        if (renewed.contains(sets)) {
          sets.renew(); // where it fails, somebody took the set away, and a repair is on its way
        }
      }
    }
  }

  /// What the pod sends passes from now on, where nobody shall be refused while there is no agent.
  /// False where the rules cannot say so.
  boolean letPass(CapturedPod pod) {
    NetworkNamespace namespace = pod.namespace;
    if (namespace != null && pod.ipv6Unrefusable) {
      unblockIpv6(pod, namespace);
    }
    AliveSets sets = pod.alive;
    CapturePlan installed = pod.installed;
    if (sets == null || installed == null || !installed.failsOpen()) {
      return false;
    }
    stop(sets);
    return true;
  }

  /// The kernel remembers for 10 s how a connection was redirected that a server has reset, and
  /// redirects the next one from the same port likewise, whatever the rules say by then: after the
  /// end of an agent to where nobody listens, in an open pod, and each attempt counts anew. What
  /// was reset has nothing more to say, so it is forgotten at once.
  private static boolean forgetReset() {
    try {
      Files.writeString(TIMEOUT_CLOSE, "0");
      return true;
    } catch (IOException _) {
      return false; // /proc/sys is read-only: it takes those 10 s
    }
  }

  /// Live connections shall outlast rules that somebody flushes, and rules that are removed.
  private static void hold(CapturedPod pod, NetworkNamespace namespace) {
    if (pod.hold != null || pod.unholdable) {
      return;
    }
    try {
      pod.hold = TranslationHold.open(namespace);
    } catch (SyscallException e) {
      pod.unholdable = true;
      LOG.info(
          "pod {}: connections through the agent end when somebody flushes its rules ({})",
          pod.spec.ref(),
          e.getMessage());
    }
  }

  /// Sweeps of many pods are spread, also where the pods came all at once. The first comes early.
  private void verified(CapturedPod pod, long now) {
    long every = pod.watch != null ? pace.sweepNanos() : pace.unnotifiedNanos();
    pod.nextVerifyNanos = now + (pod.swept ? every : firstSweep(every));
    pod.swept = true;
    PodGuard guard = pod.guard;
    if (guard != null && guard.dueIn(now) < pod.nextVerifyNanos - now) {
      pod.nextVerifyNanos = now + guard.dueIn(now);
    }
  }

  private static long firstSweep(long every) {
    return ThreadLocalRandom.current().nextLong(every / 20, every / 4 + 1);
  }

  /// Where the rules cannot have the kernel pass, everything is relayed.
  private CapturePlan installPass(
      CapturedPod pod, NetworkNamespace namespace, CapturePlan plan, ServedPod served) {
    if (plan.kernelPass().isEmpty()) {
      return install(pod, namespace, plan, served);
    }
    try {
      return install(pod, namespace, plan, served);
    } catch (RulesException e) {
      withoutPass(pod, e);
      return install(pod, namespace, plan(pod, served).withFailsOpen(plan.failsOpen()), served);
    }
  }

  /// The rules of the pod cannot have the kernel pass.
  void withoutPass(CapturedPod pod, RulesException why) {
    pod.unpassable = true;
    pod.passWaits = false;
    pod.passProblem =
        rules.programs().backend() == RuleBackend.NFT
            ? "no_nft_queue: the kernel has no queue expression (CONFIG_NFT_QUEUE)"
            : "its rules cannot be had: " + why.getMessage();
    passes.ifPresent(all -> {
      all.tell(pod, pod.passProblem);
      all.close(pod);
    });
  }

  /// The rules have it also while another agent reads the queue, because these may be its rules.
  private Optional<KernelPass> pass(CapturedPod pod, ServedPod served) {
    return pod.pass != null || pod.passWaits
        ? Optional.of(KernelPass.STANDARD.withBypass(opensOnLeave(served)))
        : Optional.empty();
  }

  /// Where IPv6 cannot be captured, it is refused for pods whose policy is closed, and let alone
  /// for others; where it cannot be refused either, [#blockIpv6] does. What was found out holds for
  /// some sweeps, also when the pod's policy becomes another.
  private CapturePlan install(
      CapturedPod pod, NetworkNamespace namespace, CapturePlan plan, ServedPod served) {
    try {
      return report(pod, plan, rules(pod, plan).install(namespace, plan));
    } catch (RulesException e) {
      if (pod.ipv6Unrefusable || !isOfIpv6(e)) {
        throw e;
      }
      pod.ipv6Lacks = String.valueOf(e.getMessage());
      pod.ipv6Unrefusable = pod.ipv6Uncapturable; // or there is nothing to write, and no reading
      pod.ipv6Uncapturable = true;
      pod.ipv6TryNanos = System.nanoTime() + SWEEPS_WITHOUT_IPV6 * pace.sweepNanos();
      return install(pod, namespace, plan(pod, served).withFailsOpen(plan.failsOpen()), served);
    }
  }

  /// Without IPv6 where not even its rules can be looked at.
  private TrafficRules rules(CapturedPod pod, CapturePlan plan) {
    return pod.ipv6Unrefusable && plan.ipv6() == Ipv6.UNTOUCHED ? rulesOfIpv4 : rules;
  }

  private static boolean isOfIpv6(RulesException e) {
    return e.family().filter(IpFamily.V6::equals).isPresent();
  }

  /// Says what becomes of IPv6, when it is something else than was said last.
  private static void tellIpv6(CapturedPod pod) {
    if (pod.ipv6.equals(pod.ipv6Told) || (!pod.ipv6Uncapturable && pod.ipv6Told.isEmpty())) {
      return;
    }
    pod.ipv6Told = pod.ipv6;
    switch (pod.ipv6) {
      case "blocked" ->
          LOG.error(
              "pod {}: IPv6 can be neither captured nor refused by rules ({}); every way out over"
                  + " IPv6 is prohibited by a policy rule; trying again",
              pod.spec.ref(),
              pod.ipv6Lacks);
      case "refused" ->
          LOG.warn(
              "pod {}: IPv6 cannot be captured and is refused ({}); trying again",
              pod.spec.ref(),
              pod.ipv6Lacks);
      case "uncaptured" ->
          LOG.warn(
              "pod {}: IPv6 cannot be captured and passes ({}); trying again",
              pod.spec.ref(),
              pod.ipv6Lacks);
      default -> LOG.info("pod {}: IPv6 is {} again", pod.spec.ref(), pod.ipv6);
    }
  }

  /// Whether a closed pod has no rules for IPv6.
  private boolean blocksIpv6(CapturedPod pod, ServedPod served) {
    return pod.ipv6Unrefusable && isClosed(served);
  }

  private void blockIpv6(CapturedPod pod, NetworkNamespace namespace, ServedPod served) {
    if (blocksIpv6(pod, served)) {
      Ipv6Block.install(namespace);
      pod.ipv6 = "blocked";
    } else {
      unblockIpv6(pod, namespace); // an agent before may have had to
    }
  }

  private static void unblockIpv6(CapturedPod pod, NetworkNamespace namespace) {
    try {
      Ipv6Block.remove(namespace);
    } catch (SyscallException e) {
      LOG.error("pod {}: IPv6 stays blocked there: {}", pod.spec.ref(), e.getMessage());
    }
  }

  private static CapturePlan report(CapturedPod pod, CapturePlan plan, InstallReport report) {
    pod.backend = report.backend().toString();
    InstallReport.Outcome six = report.outcome(IpFamily.V6);
    boolean none = six == null || six.state() == InstallReport.State.SKIPPED;
    pod.ipv6 =
        switch (plan.ipv6()) {
          case CAPTURE -> none ? "absent" : "captured";
          case REFUSE -> none ? "absent" : "refused";
          case UNTOUCHED -> "uncaptured"; // there is IPv6, or else it had not been found out
        };
    return plan;
  }

  /// What the pod's rules are to be now.
  CapturePlan plan(CapturedPod pod, ServedPod served) {
    boolean closed = isClosed(served);
    Ipv6 ipv6 =
        !pod.ipv6Uncapturable
            ? Ipv6.CAPTURE
            : closed && !pod.ipv6Unrefusable ? Ipv6.REFUSE : Ipv6.UNTOUCHED;
    UdpPolicy udp = udp(closed);
    EarlierConnections earlier = closed ? EarlierConnections.CUT : EarlierConnections.SPARED;
    CapturePlan plan =
        CapturePlan.egress().toBuilder()
            .ipv6(ipv6)
            .udp(udp)
            .earlier(earlier)
            .dnsPort(config.dns() ? Optional.of(CapturePlan.DNS_PORT) : Optional.empty())
            .failsOpen(opensOnLeave(served) && !pod.cannotFailOpen)
            .kernelPass(pass(pod, served))
            .inbound(
                config.inbound() ? Optional.of(CapturePlan.Inbound.STANDARD) : Optional.empty())
            .build();
    PodGuard guard = pod.guard;
    return guard == null
        ? plan
        : guard.strict(plan, closed, closed && config.udp() != CaptureConfig.Udp.OFF);
  }

  /// What becomes of UDP.
  UdpPolicy udp(boolean closed) {
    return switch (config.udp()) {
      case ALL -> UdpPolicy.ALL;
      case OFF -> UdpPolicy.OFF;
      case AUTO -> closed ? UdpPolicy.QUIC : UdpPolicy.OFF;
    };
  }

  /// Whether the pod may reach only what policy knows.
  boolean isClosed(ServedPod served) {
    ClientView view = served.view(routes.get());
    return view.registryOnly() && view.mode() == EgressMode.ENFORCE;
  }

  /// Whether what the pod sends passes while no agent runs.
  boolean opensOnLeave(@Nullable ServedPod served) {
    return switch (config.onFailure()) {
      case CLOSED -> false;
      case OPEN -> true;
      case AUTO -> served != null && !isClosed(served);
    };
  }

  /// Takes the pod's rules away, also those that an agent before has left.
  void remove(CapturedPod pod, NetworkNamespace namespace) {
    if (pod.guard != null) {
      pod.guard.remove(pod, namespace);
    }
    unwatch(pod);
    try {
      rules.remove(namespace);
    } catch (RuntimeException e) {
      LOG.error("pod {}: its rules could not be removed: {}", pod.spec.ref(), e.getMessage());
    }
    unblockIpv6(pod, namespace);
    removeRoutes(pod, namespace);
  }

  /// Redirected connections of the pod may break from now on.
  static void holdNoMore(CapturedPod pod) {
    if (pod.hold != null) {
      pod.hold.close();
      pod.hold = null;
    }
  }

  /// Stops looking after the pod's rules, and leaves them.
  void unwatch(CapturedPod pod) {
    if (pod.watch != null) {
      pod.watch.close();
      pod.watch = null;
    }
    if (pod.guard != null) {
      pod.guard.close();
    }
    renewedNoMore(pod);
    pod.installed = null;
  }
}
