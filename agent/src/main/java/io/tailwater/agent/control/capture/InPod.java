package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.accept.InterceptListener.ListenException;
import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.util.Collection;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// Listeners ([Enrolment]) and rules ([RuleKeeper]) in each pod's own namespace.
final class InPod implements PodCapture {
  private final Enrolment enrolment;
  private final RuleKeeper keeper;

  InPod(Enrolment enrolment, RuleKeeper keeper) {
    this.enrolment = enrolment;
    this.keeper = keeper;
  }

  @Override
  public void prepare(CapturedPod pod, NetworkNamespace namespace, Consumer<CapturedPod> changed) {
    keeper.watch(pod, namespace, changed);
    ServedPod served = enrolment.serve(pod, namespace);
    PodGuard guard = pod.guard;
    if (guard != null) {
      guard.watch(pod, namespace, served, () -> changed.accept(pod));
    }
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
    enrolment.letGo(pod, endConnections);
  }

  @Override
  public void handOver(CapturedPod pod) {
    keeper.unwatch(pod);
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
