package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.iptables.apply.EgressGuard;
import io.tailwater.iptables.apply.RulesException;
import io.tailwater.iptables.apply.XdpRings;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.Interfaces;
import io.tailwater.iptables.netlink.NetlinkMessages;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netlink.NetlinkSocket;
import io.tailwater.iptables.netlink.PacketLog;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Strictness;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// What keeps one pod from getting round its rules: the secret mark, the guard at its interfaces,
/// and the log of what the kernel refused.
///
/// One thread at a time, as the pod's rules; what is logged comes on the poller's thread.
final class PodGuard implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(PodGuard.class);

  /// How often it is tried again what an agent before has let go of, and how soon: a program that
  /// it was just starting may hold it for a moment more.
  private static final int SOON = 10;

  private static final long TRY_SOON = TimeUnit.MILLISECONDS.toNanos(100);

  /// How long a queue or log group that somebody else holds is left alone.
  private static final long TRY_AGAIN = TimeUnit.SECONDS.toNanos(10);

  private final PodGuards all;
  private final PodMarks marks;
  private EgressGuard.@Nullable Standing standing;
  private final XdpRings rings = new XdpRings();
  private boolean ringsTold;
  private NetlinkPoller.@Nullable Watch log;
  private NetlinkPoller.@Nullable Watch links;
  private String lacking = "";
  private String unlogged = "";
  private int unloggedTries;
  private boolean unloggedTold;
  private int soon;
  private long nextTryNanos = System.nanoTime();

  /// Set on the poller's thread: somebody guesses at the mark.
  private volatile boolean guessed;

  PodGuard(PodGuards all, PodMarks marks) {
    this.all = all;
    this.marks = marks;
  }

  PodMarks marks() {
    return marks;
  }

  /// The plan with all that keeps the pod from getting round it.
  CapturePlan strict(CapturePlan plan, boolean closed, boolean knownProtocolsOnly) {
    Strictness strictness =
        Strictness.NONE
            .withCgroup(all.group().now())
            .withClosed(closed)
            .withKnownProtocolsOnly(knownProtocolsOnly)
            .withLog(PacketLog.GROUP);
    return plan.withAgent(marks.agent()).withStrictness(marks.in(strictness));
  }

  /// Takes the step that is due in replacing a mark; the plan may be another one afterwards.
  void step(CapturedPod pod, long now) {
    if (guessed) {
      guessed = false;
      LOG.warn(
          "pod {}: more than {} connections in a minute carried a mark that is not the agent's;"
              + " the agent's is replaced",
          pod.spec.ref(),
          KernelRefusals.GUESSES);
      marks.replace();
      all.numbers().replaced();
    }
    marks.settle(now);
  }

  /// When there is something to do, from now; as long as can be said when there is not.
  long dueIn(long now) {
    return guessed ? 0 : marks.settlesIn(now).orElse(Long.MAX_VALUE);
  }

  /// Begins to listen to what the kernel tells of the pod, and takes what has become free.
  ///
  /// @param changed something is to be looked at; on the poller's thread
  void watch(CapturedPod pod, NetworkNamespace namespace, ServedPod served, Runnable changed) {
    if (System.nanoTime() - nextTryNanos >= 0) {
      take(pod, namespace, served, changed);
    }
    if (links == null) {
      try {
        links =
            all.poller()
                .add(
                    NetlinkSocket.open(namespace, NetlinkSocket.ROUTE, Interfaces.CHANGES),
                    new Changes(changed));
      } catch (SyscallException e) {
        LOG.warn(
            "pod {}: new interfaces are noticed by the sweep only: {}",
            pod.spec.ref(),
            e.getMessage());
      }
    }
  }

  /// The agent before has let go of what only one can hold.
  void tookOver(long now) {
    soon = SOON;
    nextTryNanos = now;
  }

  /// How long until it is tried again what somebody else has; as long as can be said where nobody
  /// does.
  long triesAgainIn(long now) {
    return lacks() ? Math.max(0, nextTryNanos - now) : Long.MAX_VALUE;
  }

  private boolean lacks() {
    return log == null || !rings.taken().isEmpty();
  }

  /// What only one can have: the log group, and the queues that were somebody else's at the last
  /// look, which a process of the pod could bind otherwise.
  private void take(
      CapturedPod pod, NetworkNamespace namespace, ServedPod served, Runnable changed) {
    if (log == null) {
      log = listen(pod, namespace, served, changed);
    }
    if (standing != null && !rings.taken().isEmpty()) {
      try {
        holdRings(pod, namespace, standing);
      } catch (SyscallException e) {
        LOG.warn("pod {}: AF_XDP queues are not held: {}", pod.spec.ref(), e.getMessage());
      }
    }
    if (lacks()) {
      nextTryNanos = System.nanoTime() + (soon-- > 0 ? TRY_SOON : TRY_AGAIN);
    }
  }

  private NetlinkPoller.@Nullable Watch listen(
      CapturedPod pod, NetworkNamespace namespace, ServedPod served, Runnable changed) {
    KernelRefusals refusals =
        new KernelRefusals(
            served.pod(),
            all.observer(),
            all.numbers(),
            () -> {
              guessed = true;
              changed.run();
            });
    try {
      NetlinkPoller.Watch watch =
          all.poller()
              .add(
                  PacketLog.open(namespace, PacketLog.GROUP),
                  new PacketLog(refusals::logged, refusals::lost));
      unlogged = "";
      unloggedTold = false;
      return watch;
    } catch (SyscallException e) {
      boolean taken = e.errno() == Errno.EBUSY || e.errno() == Errno.EPERM;
      String why = taken ? "another program has log group " + PacketLog.GROUP : e.getMessage();
      // Met for the first time it may well be the agent that this one takes over from.
      unloggedTries = why.equals(unlogged) ? unloggedTries + 1 : 1;
      if (soon <= 0 && unloggedTries >= (taken ? 2 : 1) && !unloggedTold) {
        unloggedTold = true;
        LOG.warn(
            "pod {}: what the kernel refuses there is not told: {}; trying again",
            pod.spec.ref(),
            why);
      }
      unlogged = why;
      return null;
    }
  }

  /// The rules of a plan are in force: takes the next step in replacing a mark, and brings the
  /// guard at the interfaces. Whether somebody had changed that.
  boolean bring(
      CapturedPod pod, NetworkNamespace namespace, ServedPod served, CapturePlan plan, long now) {
    if (marks.bothPass(now)) {
      all.forgetReady(served);
    }
    marks.inForce(plan.strictness(), pod.ipv6);
    boolean changed = false;
    try {
      EgressGuard.Standing before = standing;
      if (before == null || !all.egress().stands(namespace, plan, before)) {
        EgressGuard.Standing after = all.egress().install(namespace, plan);
        standing = after;
        changed = before != null && before.plan().equals(plan);
        if (changed) {
          LOG.info("pod {}: interfaces or their guard have changed; put right", pod.spec.ref());
        }
        holdRings(pod, namespace, after);
      } else if (!rings.taken().isEmpty()) {
        holdRings(pod, namespace, before);
      }
      lacking = "";
    } catch (RulesException | SyscallException e) {
      standing = null;
      String why = String.valueOf(e.getMessage());
      if (!why.equals(lacking)) {
        LOG.warn(
            "pod {}: processes with CAP_NET_RAW can send past the rules: {}", pod.spec.ref(), why);
      }
      lacking = why;
    }
    return changed;
  }

  private void holdRings(CapturedPod pod, NetworkNamespace namespace, EgressGuard.Standing guard) {
    List<String> before = rings.taken();
    rings.hold(namespace, guard.interfaces());
    // What is taken at the first look may still be held by the agent that this one takes over from.
    if (soon <= 0 && !rings.taken().isEmpty() && rings.taken().equals(before) && !ringsTold) {
      ringsTold = true;
      LOG.warn(
          "pod {}: a program of the pod holds AF_XDP queues and can send by them past the rules:"
              + " {}",
          pod.spec.ref(),
          rings.taken());
    }
  }

  /// How far the guard goes, for people: `on`, or what it lacks.
  String state() {
    if (!lacking.isEmpty()) {
      return "off: " + lacking;
    }
    if (standing == null) {
      return "";
    }
    if (!rings.taken().isEmpty()) {
      return "on, but AF_XDP is used by the pod: " + String.join(", ", rings.taken());
    }
    return unlogged.isEmpty() ? "on" : "on, but refusals are not told: " + unlogged;
  }

  /// Takes the guard away from the interfaces.
  void remove(CapturedPod pod, NetworkNamespace namespace) {
    try {
      all.egress().remove(namespace);
    } catch (RulesException e) {
      if (lacking.isEmpty()) {
        LOG.error("pod {}: {}", pod.spec.ref(), e.getMessage());
      }
    }
    standing = null;
  }

  /// Listens no more and lets go of what it holds; rules and guard stay.
  @Override
  public void close() {
    if (log != null) {
      log.close();
      log = null;
    }
    if (links != null) {
      links.close();
      links = null;
    }
    rings.close();
  }

  /// An interface has appeared, changed or gone.
  private record Changes(Runnable changed) implements NetlinkPoller.Receiver {
    @Override
    public void received(NetlinkMessages messages) {
      changed.run();
    }

    @Override
    public void lost() {
      changed.run();
    }
  }
}
