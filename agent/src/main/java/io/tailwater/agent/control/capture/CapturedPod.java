package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.accept.InterceptListener;
import io.tailwater.agent.dataplane.dns.DnsPort;
import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.agent.dataplane.transport.ListeningPlace;
import io.tailwater.agent.dataplane.transport.LoopbackPlace;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.iptables.apply.AliveSets;
import io.tailwater.iptables.apply.TranslationHold;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import java.time.Instant;
import org.jspecify.annotations.Nullable;

/// One wanted pod and how far its capture has come. Capture thread only.
final class CapturedPod {
  /// How far it has come.
  enum State {
    /// Its namespace is not there, or capture has not been tried yet.
    PENDING,
    /// Listeners and rules are in place.
    CAPTURED,
    /// Something failed; it is tried again.
    FAILING
  }

  final PodSpec spec;
  private final String relayed;
  State state = State.PENDING;
  String problem = "";
  Instant since = Instant.now();
  long nextTryNanos = System.nanoTime();
  long nextVerifyNanos = nextTryNanos;

  /// When its rules were looked at last.
  long lastLookNanos = nextTryNanos;

  /// Somebody has changed rules in its namespace since.
  boolean changed;

  /// Its rules have been looked at at least once.
  boolean swept;

  /// The kernel does not tell of changes there.
  boolean unwatchable;

  /// The kernel has no way to keep redirected connections when rules are flushed.
  boolean unholdable;

  /// Its rules cannot depend on a living agent.
  boolean cannotFailOpen;

  /// There are no rules for IPv6 there that could capture it.
  boolean ipv6Uncapturable;

  /// Nor any that could refuse it, or that could even be looked at.
  boolean ipv6Unrefusable;

  /// Why not; when it is tried again; and what was told of it last.
  String ipv6Lacks = "";

  long ipv6TryNanos;
  String ipv6Told = "";

  int failures;
  String backend = "";
  String ipv6 = "";
  @Nullable NetworkNamespace namespace;

  /// Where its listeners are; empty in node mode, where one listens for all.
  @Nullable ListeningPlace place;

  /// Where its DNS is answered.
  @Nullable LoopbackPlace loopback;

  @Nullable ServedPod served;
  @Nullable InterceptListener listener;
  @Nullable InterceptListener inboundListener;
  @Nullable DnsPort dns;
  @Nullable CapturePlan installed;
  @Nullable PodGuard guard;
  @Nullable DriftWatch watch;
  @Nullable TranslationHold hold;
  @Nullable AliveSets alive;

  /// How connections go out as themselves; null while none may.
  @Nullable PodPass pass;

  /// Why none may; empty where the agent is not asked to let them.
  String passProblem = "";

  /// The kernel pass is impossible here.
  boolean unpassable;

  /// It waits for somebody to let go of the queue.
  boolean passWaits;

  /// When it is tried next.
  long passTryNanos = nextTryNanos;

  /// What went wrong in the round that is under way.
  @Nullable Exception failure;

  /// @param relayed the best grade of all pods, and why not a better one; empty where none is asked
  CapturedPod(PodSpec spec, String relayed) {
    this.spec = spec;
    this.relayed = relayed;
  }

  void become(State next, String why) {
    if (state != next || !problem.equals(why)) {
      since = Instant.now();
    }
    state = next;
    problem = why;
  }

  /// When something is to be done about it. Rules that keep changing are let settle between two
  /// looks, so that one pod cannot keep the thread busy.
  long dueNanos(CapturePace pace) {
    long settled = lastLookNanos + pace.settleNanos();
    long due =
        changed && state == State.CAPTURED && settled - nextTryNanos < 0 ? settled : nextTryNanos;
    return passWaits && passTryNanos - due < 0 ? passTryNanos : due;
  }

  /// The best grade of its connections, and why not a better one.
  private String grade() {
    if (pass != null) {
      return "kernel";
    }
    return passProblem.isEmpty() ? relayed : "splice: " + passProblem;
  }

  private String knownBy() {
    CapturePlan now = installed;
    return now == null
        ? ""
        : now.strictness().cgroup().map(group -> "mark, control group " + group).orElse("mark");
  }

  /// @param drift how changes of its rules are noticed
  CapturedPods.Status status(String drift) {
    ServedPod now = served;
    Pod pod =
        now != null
            ? now.pod()
            : new Pod(spec.ref(), spec.serviceAccount(), spec.labels(), spec.ips());
    return new CapturedPods.Status(
        pod,
        spec.netns(),
        state.name().toLowerCase(java.util.Locale.ROOT),
        problem,
        backend,
        ipv6,
        drift,
        knownBy(),
        guard == null ? "" : guard.state(),
        grade(),
        now == null ? 0 : now.connections().get(),
        since);
  }
}
