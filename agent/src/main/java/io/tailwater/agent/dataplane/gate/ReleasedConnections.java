package io.tailwater.agent.dataplane.gate;

import io.tailwater.agent.dataplane.account.ByteCount;
import io.tailwater.agent.dataplane.account.ConnectionObserver;
import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.connect.ConnectRequest;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.dataplane.upstream.Cluster;
import io.tailwater.agent.dataplane.upstream.Clusters;
import io.tailwater.agent.traffic.ClientAddress;
import io.tailwater.agent.traffic.Direction;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.iptables.queue.EndSegment;
import io.tailwater.iptables.queue.FlowTuple;
import java.time.Clock;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/// The connections that the kernel carries alone, accounted for as if they were relayed: into the
/// same metrics, pages and log. Payload bytes come from the sequence numbers of the first byte and
/// of FIN or RST, which is exact; a connection whose end was not seen has an estimate, and says so.
///
/// When policy stops allowing a name, its connections end. What a next agent has to know stands in
/// a file ([ReleasedFile]). The gate's thread only.
public final class ReleasedConnections {
  /// They cost 270 bytes each.
  static final int MOST = 100_000;

  static final int MOST_OF_POD = 50_000;

  /// A connection as young as that has not moved 4 GiB, so that its sequence numbers say all.
  private static final long YOUNG = TimeUnit.MILLISECONDS.toNanos(250);

  /// What has lived so long is asked about while it lives.
  static final long LONG = TimeUnit.SECONDS.toNanos(5);

  /// Pods that are asked about at once.
  static final int LOOKS = 4;

  /// In ids: above those of the loops, which are few.
  private static final int NUMBER = 0xff;

  /// An estimate is told less of it, so that what is told as moved never exceeds what has moved.
  private static final int MARGIN = 50;

  private final Clusters clusters;
  private final ConnectionObserver observer;
  private final GateCounts counts;
  private final ReleasedFile file;
  private final LongSupplier nanos;
  private final Clock clock;
  private final boolean revokes;
  private final Set<GatedPod> pods = new LinkedHashSet<>();

  /// What lives that does not stand in the file yet. Who ends leaves at once: a second's
  /// connections, kept until the next look, would all outlive the young generation.
  private final UnwrittenConnections unwritten = new UnwrittenConnections();

  private final AtomicInteger count = new AtomicInteger();
  private long lastId;

  /// @param revokes whether those are ended whose name policy allows no more
  public ReleasedConnections(
      Clusters clusters,
      ConnectionObserver observer,
      GateCounts counts,
      ReleasedFile file,
      LongSupplier nanos,
      Clock clock,
      boolean revokes) {
    this.clusters = clusters;
    this.observer = observer;
    this.counts = counts;
    this.file = file;
    this.nanos = nanos;
    this.clock = clock;
    this.revokes = revokes;
  }

  // ---- begin

  /// The record of a connection of the pod.
  ConnectionRecord record(GatedPod pod, FlowTuple tuple, Instant openedAt, long openedNanos) {
    OriginalDst dst = new OriginalDst(tuple.destinationAddress(), tuple.destinationPort());
    return new ConnectionRecord(
        ++lastId << 8 | NUMBER,
        pod.pod().pod(),
        Direction.OUTBOUND,
        new ClientAddress(pod.shared.source(tuple.sourceAddress()), tuple.sourcePort()),
        pod.shared.at(dst).dst(),
        openedAt,
        openedNanos);
  }

  /// Takes a place for one more, or says which bound is reached.
  String admit(GatedPod pod, ConnectRequest request) {
    if (count.get() >= MOST || pod.released.size() >= MOST_OF_POD) {
      return "as many connections are released as may be (" + MOST_OF_POD + " of one pod)";
    }
    ConnectionPolicy.Limits limits = request.policy().limits();
    return clusters.cluster(request.cluster()).admitConnection(limits)
        ? ""
        : "maxConnections (" + limits.maxConnections() + ") of the destination is reached";
  }

  /// Released, with a place that [#admit] gave.
  ///
  /// @param first sequence number of the pod's first byte
  /// @param firstBack that of the server's, or 0
  void add(
      GatedPod pod,
      FlowTuple tuple,
      ConnectionRecord record,
      ConnectRequest request,
      int first,
      int firstBack,
      long now) {
    ReleasedConnection one = track(pod, tuple, record, request, first, firstBack, now);
    if (!file.addNow(one)) {
      unwritten.add(one);
    }
  }

  private ReleasedConnection track(
      GatedPod pod,
      FlowTuple tuple,
      ConnectionRecord record,
      ConnectRequest request,
      int first,
      int firstBack,
      long now) {
    Cluster cluster = clusters.cluster(request.cluster());
    ReleasedConnection one =
        new ReleasedConnection(
            pod,
            tuple,
            record,
            cluster,
            cluster.endpoint(record.dst().socketAddress(), request.hostname(), now),
            first,
            firstBack);
    record.upstream(one.endpoint.address());
    record.grade(Grade.KERNEL);
    record.stage("released");
    one.endpoint.opened();
    pod.released.add(one);
    pods.add(pod);
    count.incrementAndGet();
    observer.opened(record);
    return one;
  }

  // ---- end

  /// A FIN or RST of a released connection, of whichever side; false where there is none.
  public boolean ending(GatedPod pod, EndSegment segment) {
    boolean byPod = true;
    ReleasedConnection one = pod.released.get(segment.flow());
    if (one == null) {
      byPod = false;
      one = pod.released.get(segment.flow().reversed());
    }
    if (one == null) {
      return false;
    }
    one.ending(segment, byPod);
    if (one.over()) {
      end(one, one.wasReset() ? new Outcome.Reset(one.resetByPod()) : new Outcome.Finished());
    }
    return true;
  }

  /// Another connection has the same ends now: whatever had them before is over.
  void replaced(GatedPod pod, FlowTuple tuple) {
    ReleasedConnection one = pod.released.get(tuple);
    if (one != null) {
      end(one, new Outcome.Finished());
    }
  }

  private void end(ReleasedConnection one, Outcome outcome) {
    boolean young = now() - one.record.openedNanos() < YOUNG;
    Optional<KernelConnections.Bytes> about =
        one.told() && young ? Optional.empty() : one.pod.kernel().bytes(one.tuple);
    if (one.told()) {
      long up = about.map(KernelConnections.Bytes::sent).orElse(one.record.bytesSent());
      long down = about.map(KernelConnections.Bytes::received).orElse(one.record.bytesReceived());
      // An end that was not seen may have been acknowledged like a byte.
      ByteCount how = one.over() ? ByteCount.EXACT : ByteCount.APPROXIMATE;
      finish(one, one.up(up), one.down(down), how, outcome);
    } else {
      finish(one, about, outcome);
    }
  }

  /// By what the kernel says, or has said last.
  private void finish(
      ReleasedConnection one, Optional<KernelConnections.Bytes> about, Outcome outcome) {
    long sent = about.map(KernelConnections.Bytes::sent).orElse(one.record.bytesSent());
    long received = about.map(KernelConnections.Bytes::received).orElse(one.record.bytesReceived());
    boolean exact = about.map(KernelConnections.Bytes::exact).orElse(false);
    finish(one, sent, received, exact ? ByteCount.EXACT : ByteCount.APPROXIMATE, outcome);
  }

  private void finish(
      ReleasedConnection one, long sent, long received, ByteCount how, Outcome outcome) {
    one.pod.released.remove(one);
    count.decrementAndGet();
    if (one.pod.released.isEmpty()) {
      pods.remove(one.pod);
    }
    progress(one, sent, received);
    one.record.bytes(sent, received);
    one.record.byteCount(how);
    one.record.stage("closed");
    one.endpoint.closed(now());
    one.cluster.connectionLeft();
    if (!unwritten.remove(one)) {
      file.remove(one.pod.pod().pod().ref(), one.tuple);
    }
    observer.ended(one.record, outcome);
  }

  /// Tells what has moved since it was told last.
  private void progress(ReleasedConnection one, long sent, long received) {
    long moreSent = Math.max(0, sent - one.record.bytesSent());
    long moreReceived = Math.max(0, received - one.record.bytesReceived());
    if (moreSent > 0 || moreReceived > 0) {
      one.record.bytes(
          one.record.bytesSent() + moreSent, one.record.bytesReceived() + moreReceived);
      one.cluster.bytes(moreSent, moreReceived);
      observer.progress(one.record, moreSent, moreReceived);
    }
  }

  // ---- while they live

  /// Writes down what was not yet. Called about every second.
  public void keep() {
    unwritten.takeAll(file::add);
    file.flush(this::all);
  }

  /// Asks the kernel how far those are that live long, and finds those whose end was missed. Called
  /// about every second; a few pods have their turn, because for each the kernel walks over all
  /// connections of the machine.
  public void look() {
    long now = now();
    int turns = LOOKS;
    for (GatedPod pod : List.copyOf(pods)) {
      if (now - pod.lookedNanos >= LONG
          && pod.released.all().stream().anyMatch(one -> lives(one, now))) {
        look(pod, now);
        if (--turns == 0) {
          return;
        }
      }
    }
  }

  private void look(GatedPod pod, long now) {
    pod.lookedNanos = now;
    pods.remove(pod); // to the end
    pods.add(pod);
    Map<FlowTuple, KernelConnections.Bytes> there = pod.kernel().released();
    for (ReleasedConnection one : pod.released.all()) {
      if (lives(one, now)) {
        look(one, there.get(one.tuple));
      }
    }
  }

  private static boolean lives(ReleasedConnection one, long now) {
    return now - one.record.openedNanos() > LONG;
  }

  private void look(ReleasedConnection one, KernelConnections.@Nullable Bytes bytes) {
    if (bytes == null) {
      if (one.missing) {
        end(one, new Outcome.Finished());
      }
      one.missing = true;
    } else if (bytes.exact()) {
      progress(one, bytes.sent(), bytes.received());
    } else {
      progress(one, lessOf(bytes.sent()), lessOf(bytes.received()));
    }
  }

  private static long lessOf(long estimate) {
    return estimate - estimate / MARGIN;
  }

  /// Ends those that the table does not allow any more.
  public void policyChanged(RouteTable table) {
    if (!revokes) {
      return;
    }
    for (GatedPod pod : List.copyOf(pods)) {
      ClientView view = pod.pod().view(table);
      for (ReleasedConnection one : pod.released.all()) {
        if (decide(view, one.record) instanceof Decision.Refuse refusal) {
          revoke(one, refusal.why());
        }
      }
    }
  }

  private static Decision decide(ClientView view, ConnectionRecord record) {
    boolean asks = view.ask(record.dst()) == ClientView.Ask.PREFACE;
    return view.decide(record.dst(), asks ? record.preface() : new Preface.Silent())
        .named(record.preface());
  }

  private void revoke(ReleasedConnection one, Refusal why) {
    Optional<KernelConnections.Bytes> bytes = one.pod.kernel().bytes(one.tuple);
    one.pod.kernel().end(one.tuple);
    counts.revoked.increment();
    finish(one, bytes, new Outcome.Refused(why, "policy does not allow it any more"));
  }

  // ---- pods and agents come and go

  /// Takes over what an agent before us has released for the pod: what the kernel still has is
  /// accounted for from now on, and what it has not is told as ended.
  public void adopt(GatedPod pod, RouteTable table) {
    Map<FlowTuple, KernelConnections.Bytes> there = pod.kernel().released();
    ClientView view = pod.pod().view(table);
    Set<FlowTuple> known = new HashSet<>();
    for (ReleasedFile.Kept kept : file.take(pod.pod().pod().ref())) {
      known.add(kept.tuple());
      if (pod.released.get(kept.tuple()) != null) {
        continue;
      }
      ConnectionRecord record = record(pod, kept);
      boolean alive = there.containsKey(kept.tuple());
      ReleasedConnection one = begin(pod, view, record, kept);
      if (!alive) {
        ended(one);
      } else if (revokes && record.decision().orElseThrow() instanceof Decision.Refuse refusal) {
        revoke(one, refusal.why());
      }
    }
    for (FlowTuple tuple : there.keySet()) {
      if (!known.contains(tuple) && pod.released.get(tuple) == null) {
        // It was judged once. Its name is not known, so that it ends with the next policy that
        // would need it.
        ReleasedFile.Kept kept =
            new ReleasedFile.Kept(tuple, 0, 0, clock.millis(), Optional.empty());
        unwritten.add(begin(pod, view, record(pod, kept), kept));
      }
    }
  }

  /// It ended while no agent looked.
  private void ended(ReleasedConnection one) {
    Optional<KernelConnections.Bytes> bytes = one.pod.kernel().bytes(one.tuple);
    if (bytes.isPresent()) {
      finish(one, bytes, new Outcome.Finished());
    } else {
      finish(one, 0, 0, ByteCount.INCOMPLETE, new Outcome.Finished());
    }
  }

  private ConnectionRecord record(GatedPod pod, ReleasedFile.Kept kept) {
    long age = Math.max(0, clock.millis() - kept.openedMillis());
    ConnectionRecord record =
        record(
            pod,
            kept.tuple(),
            Instant.ofEpochMilli(kept.openedMillis()),
            now() - TimeUnit.MILLISECONDS.toNanos(age));
    SharedParts.OfDestination shared = pod.shared.at(record.dst());
    kept.sni().ifPresent(name -> record.preface(shared.preface(new Preface.Tls(name, false))));
    return record;
  }

  private ReleasedConnection begin(
      GatedPod pod, ClientView view, ConnectionRecord record, ReleasedFile.Kept kept) {
    Decision decision = decide(view, record);
    record.decision(pod.shared.at(record.dst()).judged(record.preface(), decision).decision());
    observer.accepted(record);
    ConnectRequest request =
        decision instanceof Decision.Forward forward
            ? ConnectRequest.forBytes(forward)
            : new ConnectRequest.ToDialled(record.dst());
    // It counts, over the bound too: it is there.
    boolean _ = clusters.cluster(request.cluster()).admitConnection(ConnectionPolicy.Limits.NONE);
    return track(pod, kept.tuple(), record, request, kept.first(), kept.firstBack(), now());
  }

  /// The pod is gone, or nobody's any more.
  public void forget(GatedPod pod) {
    for (ReleasedConnection one : pod.released.all()) {
      finish(one, pod.kernel().bytes(one.tuple), new Outcome.Drained());
    }
  }

  /// The agent leaves. The pod's connections go on, and a next agent tells how they ended.
  public void handOver(GatedPod pod) {
    keep();
    count.addAndGet(-pod.released.size());
    pod.released.clear();
    pods.remove(pod);
  }

  /// Copies of the records of all that live.
  public List<ConnectionRecord> snapshot() {
    List<ConnectionRecord> out = new ArrayList<>(count.get());
    all().forEach(one -> out.add(one.record.copy()));
    return out;
  }

  private List<ReleasedConnection> all() {
    List<ReleasedConnection> out = new ArrayList<>(count.get());
    pods.forEach(pod -> out.addAll(pod.released.all()));
    return out;
  }

  /// How many live now. Any thread.
  public int count() {
    return count.get();
  }

  private long now() {
    return nanos.getAsLong();
  }
}
