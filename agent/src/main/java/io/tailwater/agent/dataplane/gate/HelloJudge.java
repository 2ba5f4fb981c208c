package io.tailwater.agent.dataplane.gate;

import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.connect.Candidates;
import io.tailwater.agent.dataplane.connect.ConnectRequest;
import io.tailwater.agent.dataplane.flow.Stages;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import java.net.Inet6Address;
import java.util.Optional;
import java.util.concurrent.Executor;
import java.util.function.LongSupplier;

/// Says what becomes of a connection by its first bytes: policy as the relay asks it, and the name
/// must be at home at the very address that was dialled. Keeps nothing. The gate's thread only.
final class HelloJudge {
  private final Stages stages;
  private final Candidates candidates;
  private final Executor thread;
  private final LongSupplier nanos;

  /// Hears what was decided, exactly once; at once, or on the gate's thread when names have been
  /// looked up.
  interface Sentence {
    void release(ConnectRequest request);

    void refuse(Refusal why, String detail);

    /// It may go on, but not from here; `detail` says why not and may be empty.
    void mismatch(String detail);
  }

  /// @param thread runs tasks on the gate's thread
  HelloJudge(Stages stages, Candidates candidates, Executor thread, LongSupplier nanos) {
    this.stages = stages;
    this.candidates = candidates;
    this.thread = thread;
    this.nanos = nanos;
  }

  /// @param late whether more was awaited in vain
  void judge(GatedPod pod, ConnectionRecord record, boolean late, Sentence sentence) {
    Preface preface = record.preface();
    ClientView view = pod.pod().view(stages.routes().get());
    boolean asks = view.ask(record.dst()) == ClientView.Ask.PREFACE;
    Decision answer = view.decide(record.dst(), asks ? preface : new Preface.Silent());
    SharedParts.Judged judged = pod.shared.at(record.dst()).judged(preface, answer);
    Decision decision = judged.decision();
    record.decision(decision);
    if (decision instanceof Decision.Refuse refusal) {
      boolean tooLate = late && preface instanceof Preface.MalformedTls;
      String detail = preface instanceof Preface.MalformedTls(String why, _) ? why : "";
      sentence.refuse(tooLate ? Refusal.HELLO_TIMEOUT : refusal.why(), detail);
      return;
    }
    if (judged.obstacle() != null) {
      sentence.mismatch(judged.obstacle());
      return;
    }
    switch (decision) {
      case Decision.Passthrough _ -> sentence.release(new ConnectRequest.ToDialled(record.dst()));
      case Decision.Forward forward -> find(pod, record, forward, sentence);
      case Decision.ByName _, Decision.PerRequest _, Decision.ToWaypoint _, Decision.Refuse _ ->
          throw new IllegalStateException("no way for the kernel: " + decision);
    }
  }

  private void find(
      GatedPod pod, ConnectionRecord record, Decision.Forward forward, Sentence sentence) {
    OriginalDst dst = record.dst();
    if (record.preface() instanceof Preface.Tls tls
        && candidates.admits(dst, forward.addressRule())
        && pod.addresses().isHome(tls.sni(), dst.address(), nanos.getAsLong())) {
      sentence.release(ConnectRequest.forBytes(forward));
      return;
    }
    boolean six = dst.address() instanceof Inet6Address;
    candidates.find(
        new Candidates.Asker(pod.pod().pod().ref(), dst, "", six),
        forward.target(),
        forward.addressRule(),
        thread,
        found -> found(record, forward, found, sentence));
  }

  private void found(
      ConnectionRecord record,
      Decision.Forward forward,
      Candidates.Found found,
      Sentence sentence) {
    OriginalDst dst = record.dst();
    switch (found) {
      case Candidates.Found.Some(var some) -> {
        if (some.stream().anyMatch(c -> c.address().equals(dst.socketAddress()))) {
          sentence.release(ConnectRequest.forBytes(forward));
        } else {
          sentence.mismatch("");
        }
      }
      case Candidates.Found.None(Refusal why, String detail) -> {
        if (why == Refusal.ADDRESS_FILTERED
            && forward.auditing()
            && candidates.admits(dst, forward.addressRule())) {
          record.decision(
              new Decision.Passthrough(
                  Optional.of(Refusal.ADDRESS_FILTERED), Optional.of(forward.resource())));
          sentence.release(new ConnectRequest.ToDialled(dst));
        } else {
          stages.clusters().cluster(forward.to().cluster()).noneHealthy();
          sentence.refuse(why, detail);
        }
      }
    }
  }
}
