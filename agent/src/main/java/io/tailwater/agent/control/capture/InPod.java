package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.accept.InterceptListener.ListenException;
import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// Listeners ([Enrolment]) and rules ([RuleKeeper]) in each pod's own namespace.
final class InPod implements PodCapture {
  private final Enrolment enrolment;
  private final RuleKeeper keeper;
  private final Optional<KernelPasses> passes;

  /// @param passes how connections go out as themselves, where they may
  InPod(Enrolment enrolment, RuleKeeper keeper, Optional<KernelPasses> passes) {
    this.enrolment = enrolment;
    this.keeper = keeper;
    this.passes = passes;
  }

  @Override
  public void prepare(CapturedPod pod, NetworkNamespace namespace, Consumer<CapturedPod> changed) {
    keeper.watch(pod, namespace, changed);
    ServedPod served = enrolment.serve(pod, namespace);
    PodGuard guard = pod.guard;
    if (guard != null) {
      guard.watch(pod, namespace, served, () -> changed.accept(pod));
    }
    passes.ifPresent(all -> all.open(pod, namespace));
    try {
      enrolment.listen(pod, served);
    } catch (ListenException e) {
      if (!keeper.isClosed(served)) {
        throw e;
      }
      pod.failure = e; // without a listener the rules refuse
    }
  }

  @Override
  public void bring(CapturedPod pod, NetworkNamespace namespace, ServedPod served, long now) {
    if (keeper.isDue(pod, served, now)) {
      keeper.bring(pod, namespace, served, now);
    }
  }

  @Override
  public void bringCommon(List<CapturedPod> due, long now) {
    // nothing is common
  }

  @Override
  public long dueNanos(long now) {
    return now + Long.MAX_VALUE / 2;
  }

  @Override
  public void release(CapturedPod pod, boolean removeRules, boolean endConnections) {
    NetworkNamespace namespace = pod.namespace;
    if (removeRules && namespace != null) { // also where an agent before us has left some
      keeper.remove(pod, namespace);
    } else {
      keeper.unwatch(pod);
    }
    passes.ifPresent(all -> {
      if (endConnections) {
        all.close(pod);
      } else {
        all.leave(pod, false);
      }
    });
    enrolment.letGo(pod, endConnections);
  }

  @Override
  public void handOver(CapturedPod pod) {
    keeper.unwatch(pod);
    passes.ifPresent(all -> all.leave(pod, true));
    enrolment.handOver(pod);
  }

  @Override
  public void tookOver(Collection<CapturedPod> pods, long now) {
    for (CapturedPod pod : pods) {
      PodGuard guard = pod.guard;
      if (guard != null) {
        guard.tookOver(now);
        pod.nextTryNanos = now;
      }
    }
  }

  @Override
  public void leave(CaptureLoop.Leave how) {
    // each pod has been let go of
  }

  @Override
  public boolean finish(boolean now) {
    return true; // what holds a pod's connections is let go of with each pod
  }

  @Override
  public boolean letPass(CapturedPod pod) {
    return keeper.letPass(pod);
  }

  @Override
  public boolean opensOnLeave(@Nullable ServedPod served) {
    return keeper.opensOnLeave(served);
  }

  @Override
  public boolean foundInbound() {
    return keeper.foundInbound();
  }

  @Override
  public String noticed(CapturedPod pod) {
    return keeper.noticed(pod);
  }

  @Override
  public long notifiedRepairs() {
    return keeper.notifiedRepairs();
  }

  @Override
  public long sweptRepairs() {
    return keeper.sweptRepairs();
  }
}
