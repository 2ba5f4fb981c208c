package io.tailwater.agent.control.capture;

import io.tailwater.agent.dataplane.account.Metrics;
import io.tailwater.agent.dataplane.account.PacketObserver;
import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.agent.dataplane.flow.Workers;
import io.tailwater.iptables.apply.EgressGuard;
import io.tailwater.iptables.netlink.NetlinkPoller;
import io.tailwater.iptables.netns.NetworkNamespace;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;

/// What all pods' guards share. Made once; [#of] on the capture thread.
///
/// @param stateDir where marks are kept
/// @param group whether rules know the agent by its control group too
public record PodGuards(
    Path stateDir,
    EgressGuard egress,
    NetlinkPoller poller,
    PacketObserver observer,
    Workers workers,
    AgentGroup group,
    Numbers numbers) {

  /// What is counted of all pods together. Any thread.
  public static final class Numbers implements KernelRefusals.Counts {
    private final LongAdder refusedMarks = new LongAdder();
    private final LongAdder capturedMarks = new LongAdder();
    private final LongAdder lost = new LongAdder();
    private final LongAdder replacements = new LongAdder();

    @Override
    public void wrongMark(boolean refused) {
      (refused ? refusedMarks : capturedMarks).increment();
    }

    @Override
    public void lost() {
      lost.increment();
    }

    void replaced() {
      replacements.increment();
    }

    /// Shows them as metrics.
    public void register(Metrics metrics) {
      metrics.counters(
          "tailwater_wrong_marks",
          "Connections whose packets carried a mark that is not the agent's.",
          "outcome",
          () -> Map.of("refused", refusedMarks.sum(), "captured", capturedMarks.sum()));
      metrics.counter(
          "tailwater_mark_replacements",
          "How often a pod got a new mark because somebody guessed at the old one.",
          replacements::sum);
      metrics.counter(
          "tailwater_kernel_records_lost",
          "How often records of the kernel were lost because they came too fast.",
          lost::sum);
    }
  }

  /// The guard of one pod.
  PodGuard of(NetworkNamespace namespace) {
    return new PodGuard(this, PodMarks.of(stateDir, namespace.id()));
  }

  /// Sockets that are kept ready carry a mark that is not valid any more.
  void forgetReady(ServedPod served) {
    workers.all().forEach(worker -> worker.forget(served));
  }
}
