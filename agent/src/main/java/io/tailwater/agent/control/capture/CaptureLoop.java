package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.accept.InterceptListener;
import io.tailwater.agent.dataplane.accept.InterceptListener.ListenException;
import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.agent.dataplane.flow.Workers;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.transport.InPodSockets;
import io.tailwater.agent.dataplane.transport.Transport;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.iptables.apply.InstallReport;
import io.tailwater.iptables.apply.RulesException;
import io.tailwater.iptables.apply.TrafficRules;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.iptables.netns.NamespaceAddresses;
import io.tailwater.iptables.netns.NetnsException;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.EarlierConnections;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.Ipv6;
import io.tailwater.iptables.rule.UdpPolicy;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Brings what is captured to what is wanted, and keeps it there: desired against actual, from
/// facts.
///
/// Order: listeners first, then rules, so that a pod never meets rules without a listener; reverse
/// on removal. A pod that fails is tried again, and harms no other. All state belongs to the one
/// platform thread; [#status] reads a published snapshot.
public final class CaptureLoop implements CapturedPods, AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(CaptureLoop.class);

  /// How often something is done.
  ///
  /// @param lookNanos namespaces are looked at: gone, or replaced under the same path
  /// @param verifyNanos the rules of a pod are read back
  /// @param longestRetryNanos the longest wait before a pod that fails is tried again
  record Pace(long lookNanos, long verifyNanos, long longestRetryNanos) {
    static final Pace USUAL =
        new Pace(
            TimeUnit.SECONDS.toNanos(2),
            TimeUnit.SECONDS.toNanos(30),
            TimeUnit.SECONDS.toNanos(30));
  }

  private final Pace pace;
  private final CaptureConfig config;
  private final TrafficRules rules;
  private final Transport transport;
  private final Workers workers;
  private final CurrentRoutes routes;
  private final Thread thread;
  private final BlockingQueue<Runnable> tasks = new LinkedBlockingQueue<>();
  private final Map<PodRef, CapturedPod> pods = new TreeMap<>();
  private volatile List<CapturedPods.Status> published = List.of();
  private volatile boolean closed;

  public CaptureLoop(
      CaptureConfig config,
      TrafficRules rules,
      Transport transport,
      Workers workers,
      CurrentRoutes routes) {
    this(config, rules, transport, workers, routes, Pace.USUAL);
  }

  CaptureLoop(
      CaptureConfig config,
      TrafficRules rules,
      Transport transport,
      Workers workers,
      CurrentRoutes routes,
      Pace pace) {
    this.pace = pace;
    this.config = config;
    this.rules = rules;
    this.transport = transport;
    this.workers = workers;
    this.routes = routes;
    this.thread = Thread.ofPlatform().name("tailwater-capture").daemon(true).unstarted(this::run);
  }

  /// Starts the thread. Call it from the agent's own namespace.
  public void start() {
    thread.start();
  }

  /// Takes an event of a source. Any thread.
  public void accept(PodEvent event) {
    tasks.add(() -> {
      switch (event) {
        case PodEvent.Wanted(PodSpec pod) -> wanted(pod);
        case PodEvent.Unwanted(PodRef pod) -> unwanted(pod);
      }
    });
  }

  /// Policy has changed: what rules refuse may have, too. Any thread.
  public void policyChanged() {
    tasks.add(() -> pods.values().forEach(pod -> pod.nextTryNanos = System.nanoTime()));
  }

  /// Completes when every pod that is wanted now has been tried once. Any thread.
  public CompletableFuture<Void> settled() {
    CompletableFuture<Void> done = new CompletableFuture<>();
    tasks.add(() -> {
      try {
        sweep(System.nanoTime());
      } finally {
        done.complete(null);
      }
    });
    return done;
  }

  @Override
  public List<CapturedPods.Status> status() {
    return published;
  }

  // ---- the thread

  private void run() {
    while (!closed) {
      try {
        Runnable task = tasks.poll(pace.lookNanos(), TimeUnit.NANOSECONDS);
        while (task != null) {
          task.run();
          task = tasks.poll();
        }
        sweep(System.nanoTime());
      } catch (InterruptedException _) {
        return; // nobody does: leave() ends it by a task
      } catch (Throwable e) {
        // Without this thread no pod is looked after any more, so it outlives whatever comes.
        LOG.error("capture: unexpected failure; going on", e);
      }
    }
  }

  private void publish() {
    published = pods.values().stream().map(CapturedPod::status).toList();
  }

  private void wanted(PodSpec spec) {
    CapturedPod known = pods.get(spec.ref());
    if (known != null && known.spec.equals(spec)) {
      return;
    }
    if (known != null) {
      // In the same namespace the rules stay meanwhile: nothing passes unseen while the pod is
      // taken over under its new description.
      release(known, !known.spec.netns().equals(spec.netns()), true);
    }
    pods.put(spec.ref(), new CapturedPod(spec));
  }

  private void unwanted(PodRef ref) {
    CapturedPod known = pods.remove(ref);
    if (known != null) {
      release(known, true, true);
      publish();
    }
  }

  private void sweep(long now) {
    for (CapturedPod pod : pods.values()) {
      try {
        if (pod.namespace != null && !stillThere(pod)) {
          LOG.warn(
              "pod {}: the namespace at {} is gone; waiting for it",
              pod.spec.ref(),
              pod.spec.netns());
          release(pod, false, true);
          pod.nextTryNanos = now;
          pod.become(
              CapturedPod.State.PENDING, "the namespace at " + pod.spec.netns() + " is gone");
        }
        if (now - pod.nextTryNanos >= 0) {
          bring(pod, now);
        }
      } catch (Exception e) { // Netty throws I/O failures undeclared
        failed(pod, now, e);
      }
    }
    publish();
  }

  private static boolean stillThere(CapturedPod pod) {
    NetworkNamespace held = pod.namespace;
    try (NetworkNamespace found = NetworkNamespace.open(Path.of(pod.spec.netns()))) {
      return held != null && held.id().equals(found.id());
    } catch (NetnsException e) {
      // Only what is not there is gone: out of descriptors or memory, nothing is known.
      return e.getCause() instanceof SyscallException call
          && call.errno() != Errno.ENOENT
          && call.errno() != Errno.ENOTDIR;
    }
  }

  /// One step from whatever is to what is wanted.
  private void bring(CapturedPod pod, long now) {
    if (pod.namespace == null) {
      try {
        pod.namespace = NetworkNamespace.open(Path.of(pod.spec.netns()));
      } catch (NetnsException e) {
        notThere(pod, now, e);
        return;
      }
    }
    NetworkNamespace namespace = pod.namespace;
    if (pod.served == null) {
      pod.served = serve(pod, namespace);
    }
    ServedPod served = pod.served;
    if (pod.listener == null && pod.place != null) {
      try {
        pod.listener =
            InterceptListener.open(
                pod.place,
                CapturePlan.OUTBOUND_PORT,
                workers.all().stream().map(worker -> worker.lineFor(served)).toList());
      } catch (ListenException e) {
        if (isClosed(served)) {
          bringRules(pod, namespace, served, now); // without a listener they refuse
        }
        throw e;
      }
    }
    bringRules(pod, namespace, served, now);
    pod.failures = 0;
    pod.nextTryNanos = now + pace.verifyNanos();
    if (pod.state != CapturedPod.State.CAPTURED) {
      pod.become(CapturedPod.State.CAPTURED, "");
      LOG.info(
          "pod {}: captured in {} ({}, IPv6 {})",
          pod.spec.ref(),
          pod.spec.netns(),
          pod.backend,
          pod.ipv6);
    }
  }

  private void bringRules(CapturedPod pod, NetworkNamespace namespace, ServedPod served, long now) {
    CapturePlan plan = plan(pod, served);
    boolean verify = now - pod.nextVerifyNanos >= 0;
    if (plan.equals(pod.installed) && !verify) {
      return;
    }
    if (plan.equals(pod.installed)) {
      Drift drift = rules.verify(namespace, plan);
      if (drift instanceof Drift.None) {
        pod.nextVerifyNanos = now + pace.verifyNanos();
        return;
      }
      LOG.warn("pod {}: the rules have changed ({}); putting them back", pod.spec.ref(), drift);
    }
    pod.installed = install(pod, namespace, plan, served);
    pod.nextVerifyNanos = now + pace.verifyNanos();
  }

  /// Where IPv6 cannot be captured, it is refused for pods whose policy is closed, and let alone
  /// for others.
  private CapturePlan install(
      CapturedPod pod, NetworkNamespace namespace, CapturePlan plan, ServedPod served) {
    try {
      return report(pod, plan, rules.install(namespace, plan));
    } catch (RulesException e) {
      if (plan.ipv6() != Ipv6.CAPTURE || e.family().filter(IpFamily.V6::equals).isEmpty()) {
        throw e;
      }
      pod.ipv6Uncapturable = true; // until the pod is met anew
      CapturePlan without = plan(pod, served);
      LOG.warn(
          "pod {}: IPv6 cannot be captured ({}); {}",
          pod.spec.ref(),
          e.getMessage(),
          without.ipv6());
      try {
        return report(pod, without, rules.install(namespace, without));
      } catch (RulesException again) {
        if (without.ipv6() == Ipv6.REFUSE) {
          // Nothing can be said about IPv6 here: at least IPv4 does not pass uncaptured.
          rules.install(namespace, without.withIpv6(Ipv6.UNTOUCHED));
        }
        throw again;
      }
    }
  }

  private static CapturePlan report(CapturedPod pod, CapturePlan plan, InstallReport report) {
    pod.backend = report.variant().toString();
    InstallReport.Outcome six = report.outcome(IpFamily.V6);
    pod.ipv6 =
        six == null || six.state() == InstallReport.State.SKIPPED
            ? "absent"
            : switch (plan.ipv6()) {
              case CAPTURE -> "captured";
              case REFUSE -> "refused";
              case UNTOUCHED -> "uncaptured";
            };
    return plan;
  }

  private CapturePlan plan(CapturedPod pod, ServedPod served) {
    Ipv6 ipv6 =
        !pod.ipv6Uncapturable ? Ipv6.CAPTURE : isClosed(served) ? Ipv6.REFUSE : Ipv6.UNTOUCHED;
    UdpPolicy udp =
        switch (config.udp()) {
          case ALL -> UdpPolicy.ALL;
          case OFF -> UdpPolicy.OFF;
          case AUTO -> isClosed(served) ? UdpPolicy.QUIC : UdpPolicy.OFF;
        };
    EarlierConnections earlier =
        isClosed(served) ? EarlierConnections.CUT : EarlierConnections.SPARED;
    return CapturePlan.egress().withIpv6(ipv6).withUdp(udp).withEarlier(earlier);
  }

  /// Whether the pod may reach only what policy knows.
  private boolean isClosed(ServedPod served) {
    ClientView view = served.view(routes.get());
    return view.registryOnly() && view.mode() == EgressMode.ENFORCE;
  }

  private ServedPod serve(CapturedPod captured, NetworkNamespace namespace) {
    PodSpec spec = captured.spec;
    List<InetAddress> ips = spec.ips();
    boolean ipv6;
    try {
      if (ips.isEmpty()) {
        ips = NamespaceAddresses.of(namespace);
      }
      ipv6 = namespace.call(CaptureLoop::hasIpv6);
    } catch (IOException e) {
      throw new NetnsException(
          "cannot read the addresses in " + spec.netns() + ": " + e.getMessage(), e);
    }
    Pod pod = new Pod(spec.ref(), spec.serviceAccount(), spec.labels(), ips);
    InPodSockets place =
        new InPodSockets(namespace, transport, CapturePlan.egress().agent().value(), ipv6);
    captured.place = place;
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

  private void notThere(CapturedPod pod, long now, NetnsException e) {
    if (pod.failures++ == 0) {
      LOG.warn("pod {}: {}; trying again", pod.spec.ref(), e.getMessage());
    }
    pod.become(CapturedPod.State.PENDING, String.valueOf(e.getMessage()));
    pod.nextTryNanos = now + pace.lookNanos();
  }

  private void failed(CapturedPod pod, long now, Exception e) {
    String why = String.valueOf(e.getMessage());
    if (!why.equals(pod.problem)) {
      LOG.error("pod {}: {}; trying again", pod.spec.ref(), why);
    }
    pod.become(CapturedPod.State.FAILING, why);
    pod.failures++;
    long wait = pace.lookNanos() << Math.min(pod.failures - 1, 4);
    pod.nextTryNanos = now + Math.min(wait, pace.longestRetryNanos());
  }

  /// Lets go of a pod. `removeRules` is false where its namespace is gone or rules shall stay.
  /// Connections may go on without listener and rules.
  private void release(CapturedPod pod, boolean removeRules, boolean endConnections) {
    NetworkNamespace namespace = pod.namespace;
    if (removeRules && namespace != null) { // also where an agent before us has left some
      try {
        rules.remove(namespace);
      } catch (RuntimeException e) {
        LOG.error("pod {}: its rules could not be removed: {}", pod.spec.ref(), e.getMessage());
      }
    }
    letGo(pod, endConnections);
  }

  private void letGo(CapturedPod pod, boolean endConnections) {
    pod.installed = null;
    if (pod.listener != null) {
      pod.listener.close();
      pod.listener = null;
    }
    ServedPod served = pod.served;
    if (served != null) {
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
  }

  /// What happens to the pods when the agent leaves.
  public enum Leave {
    /// `onFailure` decides: rules stay where it is closed, so that nothing passes unseen until an
    /// agent is back.
    AS_CONFIGURED,
    /// Every rule is removed.
    UNINSTALL
  }

  /// Lets go of all pods and ends the thread; their connections go on. Any thread but the capture
  /// thread; blocks until done. A second call does nothing.
  public void leave(Leave how) {
    tasks.add(() -> {
      for (CapturedPod pod : pods.values()) {
        try {
          release(pod, how == Leave.UNINSTALL || opensOnLeave(pod.served), false);
        } catch (Exception e) {
          LOG.error("pod {}: it could not be let go of", pod.spec.ref(), e);
        }
      }
      pods.clear();
      publish();
      closed = true;
    });
    boolean interrupted = false;
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (InterruptedException _) {
        interrupted = true; // half a departure would leave rules without a listener
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private boolean opensOnLeave(@Nullable ServedPod served) {
    return switch (config.onFailure()) {
      case CLOSED -> false;
      case OPEN -> true;
      case AUTO -> served != null && !isClosed(served);
    };
  }

  @Override
  public void close() {
    leave(Leave.AS_CONFIGURED);
  }
}
