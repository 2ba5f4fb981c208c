package io.tailwater.agent.dataplane.gate;

import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.connect.Candidates;
import io.tailwater.agent.dataplane.connect.ConnectRequest;
import io.tailwater.agent.dataplane.flow.Stages;
import io.tailwater.agent.dataplane.gate.GatedConnection.Held;
import io.tailwater.agent.dataplane.gate.GatedConnection.Phase;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.dataplane.sniff.Sniffed;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.iptables.queue.FlowTuple;
import java.nio.ByteBuffer;
import java.time.Clock;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/// Judges the beginnings of connections that go out as themselves:
///
/// ```
/// SYN ─▶ opening ─▶ reading ─▶ deciding ─▶ released
///            │         │           └▶ refused
///            └─────────┴─ time is over: judged by what there is
/// ```
///
/// The first bytes of a connection are held by the kernel, or copied and dropped while their hello
/// is not complete; sniffing, policy and look-up are those of the relay. Whatever cannot be read
/// for certain, or comes from nowhere, is refused. The gate's thread only; look-ups answer there.
public final class ClientHelloGate {
  /// Connections that were let open and have sent nothing, of all pods and of one. They cost the
  /// agent next to nothing; whoever has more of them has its oldest forgotten.
  static final int MOST_OPENING = 16_384;

  static final int MOST_OPENING_OF_POD = 4_096;

  /// Packets held of one connection while names are looked up; more are dropped and come again.
  private static final int MOST_HELD = 8;

  /// So long a verdict is remembered for packets that were in the queue already.
  private static final long REMEMBERED = TimeUnit.SECONDS.toNanos(2);

  /// So long nothing new comes of a hello that is not complete.
  private static final long STALLED = TimeUnit.MILLISECONDS.toNanos(150);

  private static final int TLS_HANDSHAKE = 22;

  private final Stages stages;
  private final HelloJudge judge;
  private final ReleasedConnections released;
  private final GateCounts counts;
  private final LongSupplier nanos;
  private final Clock clock;
  private final Segment segment = new Segment();
  private final LinkedHashSet<GatedConnection> waiting = new LinkedHashSet<>();
  private final ArrayDeque<Remembered> remembered = new ArrayDeque<>();
  private int opening;

  private record Remembered(GatedConnection connection, long untilNanos) {}

  /// @param thread runs tasks on the gate's thread
  public ClientHelloGate(
      Stages stages,
      Candidates candidates,
      ReleasedConnections released,
      GateCounts counts,
      Executor thread,
      LongSupplier nanos,
      Clock clock) {
    this.stages = stages;
    this.judge = new HelloJudge(stages, candidates, thread, nanos);
    this.released = released;
    this.counts = counts;
    this.nanos = nanos;
    this.clock = clock;
  }

  // ---- packets

  /// The kernel holds a packet of the pod, which begins or continues a connection that is not
  /// released; it lies between position and limit, during the call only.
  ///
  /// @param id the kernel's number of it
  /// @param genuine whether a socket of the pod made it, as the kernel tells
  /// @param several whether it stands for several segments (GSO)
  public void packet(GatedPod pod, int id, ByteBuffer packet, boolean genuine, boolean several) {
    counts.packets.increment();
    if (!segment.read(packet)) {
      pod.verdicts().drop(id); // no connection can be told by it
      return;
    }
    FlowTuple tuple = segment.tuple();
    GatedConnection connection = pod.connections.get(tuple);
    String odd = genuine || !pod.genuine() ? oddity() : "a raw socket made the packet";
    if (odd != null) {
      GatedConnection refused =
          connection == null
              ? track(new GatedConnection(pod, tuple, segment.seq(), segment.mss(), now()))
              : connection;
      refuse(refused, id, Refusal.MALFORMED_HELLO, odd);
    } else if (segment.has(Segment.SYN)) {
      syn(pod, tuple, connection, id);
    } else {
      data(pod, tuple, connection, id, several);
    }
  }

  private @Nullable String oddity() {
    if (segment.oddity() != null) {
      return segment.oddity();
    }
    if (segment.has(Segment.URG)) {
      return "a segment has urgent data";
    }
    if (segment.has(Segment.RST)) {
      return "a segment has data and resets";
    }
    return segment.has(Segment.SYN) != segment.has(Segment.ACK)
        ? null
        : "a segment has flags that do not go together";
  }

  /// A new connection, also where there was one with the same ends. What it carries is sent again
  /// after the handshake, so that nothing of it leaves before it is judged.
  private void syn(GatedPod pod, FlowTuple tuple, @Nullable GatedConnection before, int id) {
    int first = segment.seq() + 1;
    if (before != null && !before.over() && before.first != first && !pod.genuine()) {
      // which of the two the server takes nobody knows
      refuse(before, id, Refusal.MALFORMED_HELLO, "two beginnings have the same ends");
      return;
    }
    if (before == null || !(before.phase instanceof Phase.Opening) || before.first != first) {
      if (before != null) {
        abandon(before);
      }
      released.replaced(pod, tuple);
      makeRoom(pod);
      if (opening < MOST_OPENING) {
        track(new GatedConnection(pod, tuple, first, segment.mss(), now()));
      }
    } else {
      pod.addresses()
          .unanswered(
              tuple.destinationAddress(), tuple.destinationPort(), before.openedNanos, now());
    }
    if (segment.length() == 0) {
      pod.verdicts().accept(id);
    } else {
      ByteBuffer bare = RewrittenSegment.of(segment, segment.seq(), new byte[0], 0, 0, false);
      pod.verdicts().accept(id, bare);
    }
  }

  private void makeRoom(GatedPod pod) {
    if (pod.opening < MOST_OPENING_OF_POD && opening < MOST_OPENING) {
      return;
    }
    for (GatedConnection one : pod.connections.values()) {
      if (one.phase instanceof Phase.Opening) {
        giveUp(one);
        return;
      }
    }
  }

  /// Makes room. Where raw sockets are not told from others its ends must not begin anew somewhere
  /// else in the stream while the server has the first beginning: it is denied.
  private void giveUp(GatedConnection connection) {
    if (connection.pod.genuine()) {
      abandon(connection);
      return;
    }
    counts.overloaded.increment();
    ConnectionRecord record = record(connection, new Preface.Silent());
    stages.observer().accepted(record);
    refuse(connection, record, Refusal.LIMIT, "too many connections that say nothing");
  }

  private void data(
      GatedPod pod, FlowTuple tuple, @Nullable GatedConnection known, int id, boolean several) {
    GatedConnection connection = known == null ? find(pod, tuple, id) : known;
    if (connection == null) {
      return;
    }
    switch (connection.phase) {
      case Phase.Opening _ -> {
        if (connection.found && !beginsTls()) {
          connection.first = earlier(connection.first, segment.seq());
          pod.verdicts().drop(id);
        } else if (!stages.admission().beginHandshake(pod.pod())) {
          counts.overloaded.increment();
          refuse(connection, id, Refusal.LIMIT, "limits.pendingHandshakes is reached");
        } else {
          connection.admitted = true;
          connection.first = connection.found ? segment.seq() : connection.first;
          enter(
              connection,
              new Phase.Reading(
                  new HelloAssembly(connection.first, stages.limits().clientHelloBytes())));
          read(connection, id, several);
        }
      }
      case Phase.Reading _ -> read(connection, id, several);
      case Phase.Deciding deciding -> keep(connection, deciding, id);
      case Phase.Released _ -> pod.verdicts().release(tuple, id);
      case Phase.Refused _ -> pod.verdicts().drop(id);
    }
  }

  /// Data of a connection whose SYN was not seen here: an agent before us may have seen it. In a
  /// pod's own namespace the packet is that of a real socket, whose oldest bytes were never let go;
  /// elsewhere nobody knows.
  private @Nullable GatedConnection find(GatedPod pod, FlowTuple tuple, int id) {
    GatedConnection connection =
        new GatedConnection(pod, tuple, segment.seq(), segment.mss(), now());
    connection.found = true;
    makeRoom(pod);
    if (!pod.genuine() || opening >= MOST_OPENING) {
      refuse(track(connection), id, Refusal.UNCAPTURED, "its beginning was not seen");
      return null;
    }
    counts.found.increment();
    return track(connection);
  }

  private boolean beginsTls() {
    return segment.length() > 0 && segment.payload(0) == TLS_HANDSHAKE;
  }

  private static int earlier(int a, int b) {
    return a - b < 0 ? a : b;
  }

  // ---- reading

  private void read(GatedConnection connection, int id, boolean several) {
    if (!(connection.phase instanceof Phase.Reading reading)) {
      throw new IllegalStateException("nothing is read");
    }
    Verdicts verdicts = connection.pod.verdicts();
    HelloAssembly hello = reading.hello;
    String wrong = hello.take(segment);
    if (wrong != null) {
      refuse(connection, id, Refusal.MALFORMED_HELLO, wrong);
      return;
    }
    connection.ack = segment.ack();
    if (!hello.news()) {
      verdicts.drop(id); // a copy of what is held, or was copied
      return;
    }
    reading.newsNanos = now();
    reading.held.add(new Held(id, segment.seq() - hello.first()));
    switch (hello.sniff()) {
      case Sniffed.As(Preface preface) -> {
        List<ByteBuffer> parts = reading.dropping ? parts(connection, hello) : List.of();
        judge(connection, reading, preface, parts, !several, false);
      }
      case Sniffed.NeedMore _, Sniffed.Not _ -> {
        if (reading.dropping || reading.held.size() > 1) {
          copy(connection, reading);
        }
      }
    }
  }

  /// From now on we have the bytes, and the client's TCP sends more of them.
  private void copy(GatedConnection connection, Phase.Reading reading) {
    reading.dropping = true;
    counts.copied.add(reading.held.size());
    reading.dropHeld(connection.pod.verdicts());
  }

  /// All there is, in packets like the one at hand that are no larger than the client's own.
  private List<ByteBuffer> parts(GatedConnection connection, HelloAssembly hello) {
    int most = Math.max(1, connection.mss - segment.optionBytes());
    List<ByteBuffer> parts = new ArrayList<>();
    for (int from = 0; from < hello.length(); from += most) {
      int length = Math.min(most, hello.length() - from);
      boolean last = from + length == hello.length();
      parts.add(
          RewrittenSegment.of(
              segment, hello.first() + from, hello.bytes(), from, length, last && hello.ended()));
    }
    return parts;
  }

  /// More bytes while addresses are looked up.
  private void keep(GatedConnection connection, Phase.Deciding deciding, int id) {
    Verdicts verdicts = connection.pod.verdicts();
    Phase.Reading read = deciding.read;
    String wrong = read == null ? null : read.hello.take(segment);
    if (wrong != null) {
      refuse(connection, id, Refusal.MALFORMED_HELLO, wrong);
    } else if (read != null
        && !read.dropping
        && read.hello.news()
        && read.held.size() < MOST_HELD) {
      read.held.add(new Held(id, segment.seq() - read.hello.first()));
    } else {
      verdicts.drop(id);
    }
  }

  // ---- deciding

  private void judge(
      GatedConnection connection,
      Phase.@Nullable Reading read,
      Preface preface,
      List<ByteBuffer> parts,
      boolean inPlace,
      boolean late) {
    ConnectionRecord record = record(connection, preface);
    Phase.Deciding deciding = new Phase.Deciding(record, read, parts, inPlace);
    enter(connection, deciding);
    stages.observer().accepted(record);
    judge.judge(connection.pod, record, late, new Carried(connection, deciding));
  }

  private ConnectionRecord record(GatedConnection connection, Preface preface) {
    GatedPod pod = connection.pod;
    ConnectionRecord record =
        released.record(
            pod,
            connection.tuple,
            clock.instant().minusNanos(Math.max(0, now() - connection.openedNanos)),
            connection.openedNanos);
    SharedParts.OfDestination shared = pod.shared.at(record.dst());
    pod.pod()
        .told()
        .ifPresent(told -> record.told(shared.told(told.names(record.dst().address()))));
    record.preface(shared.preface(preface));
    record.stage("deciding");
    return record;
  }

  // ---- verdicts

  /// Carries out what is decided, unless the connection has gone meanwhile.
  private final class Carried implements HelloJudge.Sentence {
    private final GatedConnection connection;
    private final Phase.Deciding deciding;

    Carried(GatedConnection connection, Phase.Deciding deciding) {
      this.connection = connection;
      this.deciding = deciding;
    }

    @Override
    public void release(ConnectRequest request) {
      if (connection.phase == deciding) {
        ClientHelloGate.this.release(connection, deciding, request);
      }
    }

    @Override
    public void refuse(Refusal why, String detail) {
      if (connection.phase == deciding) {
        ClientHelloGate.this.refuse(connection, deciding.record, why, detail);
      }
    }

    @Override
    public void mismatch(String detail) {
      if (connection.phase == deciding) {
        ClientHelloGate.this.mismatch(connection, deciding.record, detail);
      }
    }
  }

  private void release(
      GatedConnection connection, Phase.Deciding deciding, ConnectRequest request) {
    ConnectionRecord record = deciding.record;
    String reached = released.admit(connection.pod, request);
    if (!reached.isEmpty()) {
      counts.overloaded.increment();
      leaveToRelay(connection);
      refuse(connection, record, Refusal.LIMIT, reached);
      return;
    }
    // written down before the first byte leaves
    released.add(
        connection.pod, connection.tuple, record, request, connection.first, connection.ack, now());
    if (deciding.letGo(connection.pod.verdicts(), connection.tuple)) {
      counts.rewritten.increment();
    }
    counts.released.increment();
    connection.pod.addresses().answered(record.dst().address(), record.dst().port(), now());
    enter(connection, new Phase.Released());
  }

  /// The name is allowed and cannot be served from here. The handshake with the address is done, so
  /// that the relay cannot take it; it takes the next ones.
  private void mismatch(GatedConnection connection, ConnectionRecord record, String obstacle) {
    counts.mismatched.increment();
    leaveToRelay(connection);
    refuse(connection, record, Refusal.RELEASED_ADDRESS_MISMATCH, obstacle);
  }

  private void leaveToRelay(GatedConnection connection) {
    FlowTuple tuple = connection.tuple;
    connection.pod.addresses().exclude(tuple.destinationAddress(), tuple.destinationPort(), now());
  }

  /// Refuses before anything could be judged, or after all, with the packet that is at hand.
  private void refuse(GatedConnection connection, int id, Refusal why, String detail) {
    connection.ack = segment.ack();
    Phase.Reading read = readOf(connection);
    if (read != null) {
      read.dropHeld(connection.pod.verdicts());
    }
    Verdicts verdicts = connection.pod.verdicts();
    verdicts.refuse(connection.tuple, id, connection.first, connection.ack);
    if (connection.phase instanceof Phase.Refused) {
      return;
    }
    released.replaced(connection.pod, connection.tuple);
    if (connection.phase instanceof Phase.Deciding deciding) {
      told(connection, deciding.record, why, detail);
    } else {
      ConnectionRecord record = record(connection, new Preface.Silent());
      stages.observer().accepted(record);
      told(connection, record, why, detail);
    }
  }

  private void refuse(
      GatedConnection connection, ConnectionRecord record, Refusal why, String detail) {
    Verdicts verdicts = connection.pod.verdicts();
    Phase.Reading read = readOf(connection);
    if (read == null || read.held.isEmpty()) {
      verdicts.refuse(connection.tuple, connection.first, connection.ack);
    } else {
      int last = read.held.removeLast().id();
      read.dropHeld(connection.pod.verdicts());
      verdicts.refuse(connection.tuple, last, connection.first, connection.ack);
    }
    told(connection, record, why, detail);
  }

  private void told(
      GatedConnection connection, ConnectionRecord record, Refusal why, String detail) {
    counts.refused.increment();
    enter(connection, new Phase.Refused());
    record.stage("closed");
    stages.observer().ended(record, new Outcome.Refused(why, detail));
  }

  private static Phase.@Nullable Reading readOf(GatedConnection connection) {
    return switch (connection.phase) {
      case Phase.Reading reading -> reading;
      case Phase.Deciding deciding -> deciding.read;
      case Phase.Opening _, Phase.Released _, Phase.Refused _ -> null;
    };
  }

  // ---- time

  /// Does what is due. Called every now and then.
  public void tick() {
    long now = now();
    long hello = stages.limits().clientHelloTime().toNanos();
    Iterator<GatedConnection> oldest = waiting.iterator();
    List<GatedConnection> due = new ArrayList<>();
    while (oldest.hasNext()) {
      GatedConnection connection = oldest.next();
      if (connection.openedNanos + hello - now > 0) {
        break;
      }
      due.add(connection);
    }
    due.forEach(this::tooLate);
    for (GatedConnection connection : waiting) {
      if (connection.phase instanceof Phase.Reading reading) {
        goOn(connection, reading, now);
      }
    }
    while (!remembered.isEmpty() && remembered.peek().untilNanos() - now <= 0) {
      GatedConnection connection = remembered.remove().connection();
      connection.pod.connections.remove(connection.tuple, connection);
    }
  }

  /// A client that sends no more until what it has sent is acknowledged (Nagle's algorithm, its
  /// congestion window) would wait for ever: it is told that the bytes have arrived. From then on
  /// only we have them.
  private static void goOn(GatedConnection connection, Phase.Reading reading, long now) {
    HelloAssembly hello = reading.hello;
    if (now - reading.newsNanos < STALLED || hello.length() == reading.acknowledged) {
      return;
    }
    reading.dropping = true;
    reading.acknowledged = hello.length();
    reading.dropHeld(connection.pod.verdicts());
    int ack = hello.first() + hello.length();
    connection.pod.verdicts().send(Acknowledgement.of(connection.tuple, connection.ack, ack));
  }

  private void tooLate(GatedConnection connection) {
    switch (connection.phase) {
      case Phase.Opening _ -> {
        if (connection.pod.verdicts().isOpen(connection.tuple)) {
          judge(connection, null, new Preface.Silent(), List.of(), false, true);
        } else {
          abandon(connection); // nobody answered, or the client has gone
        }
      }
      case Phase.Reading reading -> {
        leaveToRelay(connection); // perhaps it fares better there
        if (reading.acknowledged > 0) {
          // what the client will not send again can only go on if all of it does
          ConnectionRecord record = record(connection, reading.hello.atEnd());
          stages.observer().accepted(record);
          refuse(connection, record, Refusal.HELLO_TIMEOUT, "");
          return;
        }
        judge(connection, reading, reading.hello.atEnd(), List.of(), false, true);
      }
      case Phase.Deciding _, Phase.Released _, Phase.Refused _ -> waiting.remove(connection);
    }
  }

  // ---- the table of connections

  private GatedConnection track(GatedConnection connection) {
    GatedConnection before = connection.pod.connections.put(connection.tuple, connection);
    if (before != null) {
      throw new IllegalStateException("two connections with the same ends");
    }
    connection.pod.opening++;
    opening++;
    waiting.add(connection);
    return connection;
  }

  private void enter(GatedConnection connection, Phase next) {
    if (connection.phase instanceof Phase.Opening) {
      connection.pod.opening--;
      opening--;
    }
    boolean wasOver = connection.over();
    connection.phase = next;
    if (connection.over()) {
      waiting.remove(connection);
      if (connection.admitted) {
        connection.admitted = false;
        stages.admission().endHandshake(connection.pod.pod());
      }
      if (!wasOver) {
        remembered.add(new Remembered(connection, now() + REMEMBERED));
      }
    }
  }

  /// Forgets a connection without a verdict; what is held of it is dropped.
  private void abandon(GatedConnection connection) {
    Phase.Reading read = readOf(connection);
    if (read != null) {
      read.dropHeld(connection.pod.verdicts());
    }
    if (connection.phase instanceof Phase.Deciding deciding) {
      deciding.record.stage("closed");
      stages.observer().ended(deciding.record, new Outcome.ClientGone());
    }
    if (!connection.over()) {
      enter(connection, new Phase.Refused());
    }
    connection.pod.connections.remove(connection.tuple, connection);
  }

  /// The pod is let go of: what is held of it is dropped, and comes again to whoever is next.
  public void close(GatedPod pod) {
    List.copyOf(pod.connections.values()).forEach(this::abandon);
  }

  private long now() {
    return nanos.getAsLong();
  }

  /// Connections whose beginning is being looked at.
  int waiting() {
    return waiting.size();
  }

  int remembered() {
    return remembered.size();
  }
}
