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
import io.tailwater.iptables.queue.SocketDiag;
import java.nio.ByteBuffer;
import java.time.Clock;
import java.util.ArrayList;
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
///
/// In a pod's namespace the SYN has gone on when it comes here, in its place among the packets. So
/// what is known of two ends is of the connection that has them, and a connection is released by a
/// packet of its own, never by its ends. Before that its socket is asked whether it has sent
/// nothing else: whatever a raw socket pretends, and whatever was lost, the bytes judged are then
/// the first.
public final class ClientHelloGate {
  /// Packets held of one connection while names are looked up; more are dropped and come again.
  private static final int MOST_HELD = 8;

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
  private final GateTable table;

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
    this.table = new GateTable(stages);
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
    if (pod.losing) {
      pod.verdicts().drop(id); // it comes again
      return;
    }
    GatedConnection connection = pod.connections.get(tuple);
    String odd = genuine || !pod.genuine() ? oddity() : "a raw socket made the packet";
    if (odd != null) {
      GatedConnection refused =
          connection == null
              ? table.track(new GatedConnection(pod, tuple, segment.seq(), segment.mss(), now()))
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

  /// The SYN of a connection has gone on, in a pod's namespace; it lies between position and limit,
  /// during the call only. One with data comes as a packet, too, and waits.
  public void begun(GatedPod pod, ByteBuffer packet) {
    if (!pod.losing && segment.read(packet)) {
      begin(pod, segment.tuple(), true);
    }
  }

  /// Packets of a pod are lost, in its own namespace, and beginnings of connections: what is known
  /// of two ends may be of a connection that is over. It is forgotten, and nothing is judged until
  /// [#recovered]; then what the pod sends again is judged by what its sockets say.
  public void lost(GatedPod pod) {
    pod.losing = true;
    close(pod);
  }

  /// Nothing is lost from now on.
  public void recovered(GatedPod pod) {
    pod.losing = false;
  }

  /// A new connection, also where there was one with the same ends.
  ///
  /// @param firstTold whether nobody has told us of this very packet before
  private void begin(GatedPod pod, FlowTuple tuple, boolean firstTold) {
    GatedConnection before = pod.connections.get(tuple);
    int first = segment.seq() + 1;
    if (before != null && before.phase instanceof Phase.Opening && before.first == first) {
      if (firstTold) { // nobody answers there; who relays can dial another address of the name
        pod.addresses()
            .unanswered(
                tuple.destinationAddress(), tuple.destinationPort(), before.openedNanos, now());
      }
      return;
    }
    if (before != null) {
      table.abandon(before, now());
    }
    released.replaced(pod, tuple);
    makeRoom(pod);
    if (!table.isFull()) {
      table.track(new GatedConnection(pod, tuple, first, segment.mss(), now()));
    }
  }

  /// What it carries is sent again after the handshake, so that nothing of it leaves before it is
  /// judged.
  private void syn(GatedPod pod, FlowTuple tuple, @Nullable GatedConnection before, int id) {
    int first = segment.seq() + 1;
    if (before != null && !before.over() && before.first != first && !pod.genuine()) {
      // which of the two the server takes nobody knows
      refuse(before, id, Refusal.MALFORMED_HELLO, "two beginnings have the same ends");
      return;
    }
    boolean logged = pod.genuine() && segment.length() > 0; // a moment ago
    begin(pod, tuple, !logged);
    if (segment.length() == 0) {
      pod.verdicts().accept(id);
    } else {
      ByteBuffer bare = RewrittenSegment.of(segment, segment.seq(), new byte[0], 0, 0, false);
      pod.verdicts().accept(id, bare);
    }
  }

  private void makeRoom(GatedPod pod) {
    GatedConnection oldest = table.oneTooMany(pod);
    if (oldest != null) {
      giveUp(oldest);
    }
  }

  /// Makes room. Where raw sockets are not told from others its ends must not begin anew somewhere
  /// else in the stream while the server has the first beginning: it is denied.
  private void giveUp(GatedConnection connection) {
    if (connection.pod.genuine()) {
      table.abandon(connection, now());
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
          if (connection.found) {
            pod.verdicts().drop(id); // it has waited for us, and comes again until its time is over
          } else {
            counts.overloaded.increment();
            refuse(connection, id, Refusal.LIMIT, "limits.pendingHandshakes is reached");
          }
        } else {
          connection.admitted = true;
          connection.first = connection.found ? segment.seq() : connection.first;
          HelloAssembly hello =
              new HelloAssembly(connection.first, stages.limits().clientHelloBytes());
          table.enter(connection, new Phase.Reading(hello), now());
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
    if (!pod.genuine() || table.isFull()) {
      refuse(table.track(connection), id, Refusal.UNCAPTURED, "its beginning was not seen");
      return null;
    }
    counts.found.increment();
    return table.track(connection);
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
    int offset = segment.seq() - hello.first();
    reading.seen = Math.max(reading.seen, offset + segment.length());
    if (!hello.news() && !reading.unsure) {
      verdicts.drop(id); // a copy of what is held, or was copied
      return;
    }
    if (reading.held.size() >= MOST_HELD) {
      copy(connection, reading);
    }
    reading.newsNanos = now();
    reading.held.add(new Held(id, offset));
    switch (hello.sniff()) {
      case Sniffed.As(Preface preface) -> {
        SocketDiag.Sent socket = sent(connection, reading);
        long sent = socket.bytes();
        reading.unsure = sent != reading.seen;
        reading.again |= socket.again(); // then this is the oldest
        if (!reading.unsure) {
          List<ByteBuffer> parts = reading.dropping ? parts(connection, hello) : List.of();
          judge(connection, reading, preface, parts, !several, false);
        } else if (!reading.again) {
          if (connection.found) {
            again(connection, reading); // what belongs to it was lost
          }
        } else if (offset <= reading.acknowledged && sent > reading.seen && sent <= hello.most()) {
          acknowledge(connection, reading, 0);
        }
      }
      case Sniffed.NeedMore _, Sniffed.Not _ -> {
        if (reading.dropping || reading.held.size() > 1) {
          copy(connection, reading);
        }
      }
    }
  }

  /// How much the pod's socket has sent. If it is as much as was seen, that begins with the first
  /// byte; whatever a raw socket pretends or what was lost, it is less than was seen otherwise, or
  /// more.
  private static SocketDiag.Sent sent(GatedConnection connection, Phase.Reading reading) {
    GatedPod pod = connection.pod;
    return pod.genuine()
        ? pod.kernel().sent(connection.tuple)
        : new SocketDiag.Sent(reading.seen, false);
  }

  /// What was not seen is waited for; the client sends its oldest bytes again first of all.
  private void again(GatedConnection connection, Phase.Reading reading) {
    reading.again = true;
    copy(connection, reading);
  }

  /// From now on we have the bytes, and the client's TCP sends more of them. Only we send them on:
  /// what is dropped without that could come again from somebody else once all may pass.
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
    table.enter(connection, deciding, now());
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
    if (pod.pod().told().isPresent()) {
      record.told(shared.told(pod.pod().told().get().names(record.dst().address())));
    }
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
    table.enter(connection, Phase.Released.ONE, now());
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
    Phase.Reading read = connection.read();
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
    Phase.Reading read = connection.read();
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
    table.enter(connection, Phase.Refused.ONE, now());
    record.stage("closed");
    stages.observer().ended(record, new Outcome.Refused(why, detail));
  }

  // ---- time

  /// Does what is due. Called every now and then.
  public void tick() {
    long now = now();
    long hello = stages.limits().clientHelloTime().toNanos();
    table.waitingSince(now - hello).forEach(this::tooLate);
    for (GatedConnection connection : List.copyOf(table.waiting())) {
      if (connection.phase instanceof Phase.Reading reading) {
        goOn(connection, reading, now);
      }
    }
    table.forget(now);
  }

  /// A client that sends no more until what it has sent is acknowledged (Nagle's algorithm, its
  /// congestion window) would wait for ever: it is told that the bytes have arrived.
  private void goOn(GatedConnection connection, Phase.Reading reading, long now) {
    HelloAssembly hello = reading.hello;
    if (now - reading.newsNanos < STALLED) {
      return;
    }
    if (reading.unsure) { // what was not seen comes again, and what is held with it
      reading.newsNanos = now;
      again(connection, reading);
    } else if (hello.length() != reading.acknowledged) {
      acknowledge(connection, reading, Acknowledgement.WINDOW);
    }
  }

  /// From now on only we have the bytes. A window of 0 has the client send again what it has sent
  /// behind them, and nothing more: after a loss it sends only its oldest segment again until that
  /// is acknowledged.
  private static void acknowledge(GatedConnection connection, Phase.Reading reading, int window) {
    Verdicts verdicts = connection.pod.verdicts();
    HelloAssembly hello = reading.hello;
    reading.dropping = true;
    reading.acknowledged = hello.length();
    reading.dropHeld(verdicts);
    int ack = hello.first() + hello.length();
    verdicts.send(Acknowledgement.of(connection.tuple, connection.ack, ack, window));
  }

  private void tooLate(GatedConnection connection) {
    switch (connection.phase) {
      case Phase.Opening _ -> {
        if (!connection.pod.verdicts().isOpen(connection.tuple)) {
          table.abandon(connection, now()); // nobody answered, or the client has gone
        } else if (connection.pod.genuine()) {
          silent(connection);
        } else {
          judge(connection, null, new Preface.Silent(), List.of(), false, true);
        }
      }
      case Phase.Reading reading -> {
        leaveToRelay(connection); // perhaps it fares better there
        if (reading.acknowledged > 0 || connection.pod.genuine()) {
          // what the client will not send again can only go on if all of it does
          ConnectionRecord record = record(connection, reading.hello.atEnd());
          stages.observer().accepted(record);
          refuse(connection, record, Refusal.HELLO_TIMEOUT, "");
          return;
        }
        judge(connection, reading, reading.hello.atEnd(), List.of(), false, true);
      }
      case Phase.Deciding _, Phase.Released _, Phase.Refused _ ->
          table.isWaitedForNoLonger(connection);
    }
  }

  /// In a pod's namespace silence is only refused. Where it may go on, what is said after it is
  /// judged as if it were said at once.
  private void silent(GatedConnection connection) {
    ConnectionRecord record = record(connection, new Preface.Silent());
    judge.judge(connection.pod, record, true, new Silence(connection, record));
  }

  /// Carries out what is decided of a client that says nothing, unless it has spoken meanwhile.
  private final class Silence implements HelloJudge.Sentence {
    private final GatedConnection connection;
    private final ConnectionRecord record;

    Silence(GatedConnection connection, ConnectionRecord record) {
      this.connection = connection;
      this.record = record;
    }

    @Override
    public void release(ConnectRequest request) {
      if (connection.phase instanceof Phase.Opening && connection.found) {
        refuse(Refusal.HELLO_TIMEOUT, ""); // it has spoken, and nobody knows about what
      } else if (connection.phase instanceof Phase.Opening) {
        table.waitAgain(connection, now());
      }
    }

    @Override
    public void refuse(Refusal why, String detail) {
      if (connection.phase instanceof Phase.Opening) {
        stages.observer().accepted(record);
        ClientHelloGate.this.refuse(connection, record, why, detail);
      }
    }

    @Override
    public void mismatch(String detail) {
      if (connection.phase instanceof Phase.Opening) {
        stages.observer().accepted(record);
        ClientHelloGate.this.mismatch(connection, record, detail);
      }
    }
  }

  /// The pod is let go of: what is held of it is dropped, and comes again to whoever is next.
  public void close(GatedPod pod) {
    table.abandonAll(pod, now());
  }

  private long now() {
    return nanos.getAsLong();
  }

  /// Connections whose beginning is being looked at.
  int waiting() {
    return table.waiting().size();
  }

  int remembered() {
    return table.remembered();
  }
}
