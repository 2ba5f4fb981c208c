package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.dns.DnsProxy;
import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.agent.dataplane.flow.Workers;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.transport.Transport;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.iptables.apply.TrafficRules;
import io.tailwater.iptables.apply.TranslationHold;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netns.NetnsException;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Brings what is captured to what is wanted, and keeps it there: desired against actual, from
/// facts.
///
/// Order: listeners first, then rules, so that a pod never meets rules without a listener; reverse
/// on removal. Where both are is the affair of [PodCapture]. A pod that fails is tried again, and
/// harms no other. All state belongs to the one platform thread; [#status] reads a published
/// snapshot.
public final class CaptureLoop implements CapturedPods, AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(CaptureLoop.class);

  private final CapturePace pace;
  private final String relayed;
  private final Enrolment enrolment;
  private final PodCapture capture;
  private final ProbeKeeper probes;
  private final boolean inbound;
  private final RuleCrew crew = new RuleCrew(Runtime.getRuntime().availableProcessors());
  private final Thread thread;
  private final BlockingQueue<Runnable> tasks = new LinkedBlockingQueue<>();
  private final Map<PodRef, CapturedPod> pods = new TreeMap<>();
  private final Queue<Held> held = new ConcurrentLinkedQueue<>();
  private long nextLookNanos = System.nanoTime();
  private volatile List<CapturedPods.Status> published = List.of();
  private volatile boolean closed;

  /// @param dns answers the pods' DNS; there where it is captured
  /// @param passes how connections go out as themselves; there where they may
  /// @param relayed the grade of all pods otherwise, and why not a better one; empty where none is
  ///   asked
  public CaptureLoop(
      CaptureConfig config,
      TrafficRules rules,
      Transport transport,
      Workers workers,
      CurrentRoutes routes,
      NetlinkPoller poller,
      Optional<DnsProxy> dns,
      PodGuards guards,
      Optional<KernelPasses> passes,
      String relayed) {
    this(
        config,
        rules,
        transport,
        workers,
        routes,
        poller,
        dns,
        guards,
        passes,
        relayed,
        CapturePace.USUAL);
  }

  CaptureLoop(
      CaptureConfig config,
      TrafficRules rules,
      Transport transport,
      Workers workers,
      CurrentRoutes routes,
      NetlinkPoller poller,
      Optional<DnsProxy> dns,
      PodGuards guards,
      Optional<KernelPasses> passes,
      String relayed,
      CapturePace pace) {
    this.pace = pace;
    this.relayed = relayed;
    this.enrolment = new Enrolment(transport, workers, routes, dns, guards, config.inbound());
    RuleKeeper keeper = new RuleKeeper(config, rules, routes, poller, pace, passes);
    this.capture =
        switch (config.mode()) {
          case IN_POD -> new InPod(enrolment, keeper, passes);
          case NODE ->
              new OnNode(
                  config,
                  rules,
                  keeper,
                  transport,
                  workers,
                  routes,
                  poller,
                  dns,
                  guards,
                  pace,
                  passes,
                  () -> tasks.add(() -> {}));
        };
    this.probes = new ProbeKeeper(rules);
    this.inbound = config.inbound() && config.mode() == CaptureConfig.Mode.IN_POD;
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

  /// The agent before has let go of the pods: what only one can hold is taken. Returns when it has
  /// been tried. Any thread but the capture thread.
  public void tookOver() {
    tasks.add(() -> capture.tookOver(pods.values(), System.nanoTime()));
    settled().join();
  }

  /// Completes when every pod that is wanted now has been tried once. Any thread.
  public CompletableFuture<Void> settled() {
    CompletableFuture<Void> done = new CompletableFuture<>();
    tasks.add(() -> {
      try {
        work(System.nanoTime());
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

  /// How often rules that had been changed were put back, by how that was noticed: `notified` or
  /// `swept`. Any thread.
  public Map<String, Long> repairs() {
    return Map.of("notified", capture.notifiedRepairs(), "swept", capture.sweptRepairs());
  }

  /// The plan that is in force in a pod, as it was left last. Any thread.
  CompletableFuture<Optional<CapturePlan>> inForce(PodRef ref) {
    CompletableFuture<Optional<CapturePlan>> answer = new CompletableFuture<>();
    tasks.add(() -> answer.complete(Optional.ofNullable(pods.get(ref)).map(pod -> pod.installed)));
    return answer;
  }

  // ---- the thread

  private void run() {
    while (!closed) {
      try {
        Runnable task = tasks.poll(untilNext(System.nanoTime()), TimeUnit.NANOSECONDS);
        while (task != null) {
          task.run();
          task = tasks.poll();
        }
        if (!closed) {
          work(System.nanoTime());
        }
      } catch (InterruptedException _) {
        return; // nobody does: leave() ends it by a task
      } catch (Throwable e) {
        // Without this thread no pod is looked after any more, so it outlives whatever comes.
        LOG.error("capture: unexpected failure; going on", e);
      }
    }
  }

  private long untilNext(long now) {
    long next = Math.min(nextLookNanos - now, capture.dueNanos(now) - now) + now;
    for (CapturedPod pod : pods.values()) {
      next = Math.min(next - now, pod.dueNanos(pace) - now) + now;
    }
    return Math.max(next - now, 0);
  }

  private void publish() {
    published = pods.values().stream().map(pod -> pod.status(capture.noticed(pod))).toList();
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
    pods.put(spec.ref(), new CapturedPod(spec, relayed));
  }

  private void unwanted(PodRef ref) {
    CapturedPod known = pods.remove(ref);
    if (known != null) {
      // Behind a path that is gone the pod's last processes may still run: what they send is not
      // let out by taking the rules away.
      NetworkNamespace namespace = known.namespace;
      forgetMarks(known);
      release(known, namespace == null || namespace.isStillAt(known.spec.netns()), true);
      publish();
    }
  }

  /// Somebody has changed rules in the pod's namespace. On the poller's thread.
  private void changed(CapturedPod pod) {
    tasks.add(() -> pod.changed = true);
  }

  /// Everything that is due.
  private void work(long now) {
    if (now - nextLookNanos >= 0) {
      nextLookNanos = now + pace.lookNanos();
      look(now);
    }
    List<CapturedPod> due = new ArrayList<>();
    for (CapturedPod pod : pods.values()) {
      if (now - pod.dueNanos(pace) >= 0 && prepare(pod, now)) {
        due.add(pod);
      }
    }
    if (inbound) {
      probes.keep(pods.values(), now); // ahead of the rules that would capture probes
    }
    crew.each(due, pod -> bringRules(pod, now));
    if (!inbound && capture.foundInbound()) {
      probes.remove();
    }
    capture.bringCommon(due, now);
    due.forEach(pod -> finish(pod, now));
    publish();
  }

  /// Finds namespaces that are gone.
  private void look(long now) {
    for (CapturedPod pod : pods.values()) {
      NetworkNamespace namespace = pod.namespace;
      if (namespace != null && !namespace.isStillAt(pod.spec.netns())) {
        LOG.warn(
            "pod {}: the namespace at {} is gone; waiting for it",
            pod.spec.ref(),
            pod.spec.netns());
        forgetMarks(pod);
        release(pod, false, true);
        pod.nextTryNanos = now;
        pod.become(CapturedPod.State.PENDING, "the namespace at " + pod.spec.netns() + " is gone");
      }
    }
  }

  /// No rules ask for the pod's marks any more, or nobody is there whom they could refuse.
  private static void forgetMarks(CapturedPod pod) {
    if (pod.guard != null) {
      pod.guard.marks().forget();
    }
  }

  /// Brings all but the rules in place; false when there is nothing to be done about those.
  private boolean prepare(CapturedPod pod, long now) {
    pod.failure = null;
    try {
      NetworkNamespace namespace;
      try {
        namespace = enrolment.enter(pod);
      } catch (NetnsException e) {
        notThere(pod, now, e);
        return false;
      }
      capture.prepare(pod, namespace, this::changed);
      return true;
    } catch (Exception e) { // Netty throws I/O failures undeclared
      failed(pod, now, e);
      return false;
    }
  }

  /// The part that takes long; perhaps on a thread of the crew.
  private void bringRules(CapturedPod pod, long now) {
    NetworkNamespace namespace = pod.namespace;
    ServedPod served = pod.served;
    if (namespace == null || served == null) {
      return;
    }
    try {
      capture.bring(pod, namespace, served, now);
    } catch (RuntimeException e) {
      pod.failure = e;
    }
  }

  private void finish(CapturedPod pod, long now) {
    Exception failure = pod.failure;
    if (failure != null) {
      failed(pod, now, failure);
      return;
    }
    pod.failures = 0;
    pod.lastLookNanos = System.nanoTime();
    PodGuard guard = pod.guard;
    pod.nextTryNanos =
        guard == null
            ? pod.nextVerifyNanos
            : now + Math.min(pod.nextVerifyNanos - now, guard.triesAgainIn(now));
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
  private void release(CapturedPod pod, boolean removeRules, boolean endConnections) {
    ServedPod served = pod.served;
    capture.release(pod, removeRules, endConnections);
    TranslationHold hold = pod.hold;
    if (endConnections || served == null || hold == null) {
      RuleKeeper.holdNoMore(pod);
    } else {
      held.add(new Held(served, hold));
    }
  }

  /// A pod that was let go of while it had connections.
  private record Held(ServedPod pod, TranslationHold hold) {}

  /// Lets go of what keeps the connections going of pods that were let go of, for those that have
  /// none any more. True when nothing is left. Any platform thread, outside of any namespace.
  public boolean finishEnded() {
    return finish(false);
  }

  /// Lets go of all of it: connections have ended, or do so now. After [#leave]; otherwise as
  /// [#finishEnded].
  public void finish() {
    finish(true);
  }

  private boolean finish(boolean now) {
    held.removeIf(one -> {
      boolean ended = now || one.pod().connections().get() == 0;
      if (ended) {
        one.hold().close();
      }
      return ended;
    });
    return (!closed || capture.finish(now)) && held.isEmpty();
  }

  /// What happens to the pods when the agent leaves.
  public enum Leave {
    /// `onFailure` decides: where it is closed nothing passes until an agent is back, where it is
    /// open everything does, at once. Rules stay, but open ones that do not depend on an agent.
    AS_CONFIGURED,
    /// Every rule is removed.
    UNINSTALL,
    /// Another agent serves the pods from now on: only the listeners go. What was accepted goes on,
    /// and may still have to dial from the pods' namespaces.
    TO_ANOTHER
  }

  /// The loop stands still until [#resume] or [#leave].
  public final class Pause {
    private final CountDownLatch over = new CountDownLatch(1);

    private Pause() {}

    /// The loop goes on, and looks at the rules of every pod: somebody else may have changed them.
    public void resume() {
      tasks.add(() ->
          pods.values()
              .forEach(pod -> {
                pod.changed = true;
                pod.nextTryNanos = System.nanoTime();
              }));
      over.countDown();
    }

    /// The loop ends: another agent serves the pods. Blocks until it has.
    public void leave() {
      departure(Leave.TO_ANOTHER);
      over.countDown();
      awaitEnd();
    }
  }

  /// Stands still: changes no rule, captures no pod; what is captured goes on. Returns when it
  /// does. Any thread but the capture thread.
  public Pause pause() {
    Pause pause = new Pause();
    CompletableFuture<Void> still = new CompletableFuture<>();
    tasks.add(() -> {
      still.complete(null);
      try {
        pause.over.await();
      } catch (InterruptedException _) {
        Thread.currentThread().interrupt(); // nobody does
      }
    });
    still.join();
    return pause;
  }

  /// Lets go of all pods and ends the thread; their connections go on. Any thread but the capture
  /// thread; blocks until done. A second call does nothing.
  public void leave(Leave how) {
    departure(how);
    awaitEnd();
  }

  private boolean allOpen() {
    return pods.values().stream().allMatch(pod -> capture.opensOnLeave(pod.served));
  }

  private void departure(Leave how) {
    tasks.add(() -> {
      if (closed) {
        return; // asked twice: to drain, and at once to end. What is uninstalled stays away
      }
      if (how == Leave.UNINSTALL || (how == Leave.AS_CONFIGURED && inbound && allOpen())) {
        probes.remove();
      }
      for (CapturedPod pod : pods.values()) {
        try {
          switch (how) {
            case TO_ANOTHER -> capture.handOver(pod);
            case UNINSTALL -> {
              forgetMarks(pod);
              release(pod, true, false);
            }
            case AS_CONFIGURED ->
                release(pod, capture.opensOnLeave(pod.served) && !capture.letPass(pod), false);
          }
        } catch (Exception e) {
          LOG.error("pod {}: it could not be let go of", pod.spec.ref(), e);
        }
      }
      if (how != Leave.TO_ANOTHER) {
        pods.clear();
      }
      capture.leave(how);
      publish();
      finishEnded();
      closed = true;
    });
  }

  private void awaitEnd() {
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

  @Override
  public void close() {
    leave(Leave.AS_CONFIGURED);
  }
}
