package io.tailwater.agent.dataplane.flow;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.util.concurrent.ScheduledFuture;
import io.tailwater.agent.dataplane.accept.Intercepted;
import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.connect.ConnectRequest;
import io.tailwater.agent.dataplane.connect.Connector;
import io.tailwater.agent.dataplane.connect.UpstreamConnection;
import io.tailwater.agent.dataplane.http.HttpConnection;
import io.tailwater.agent.dataplane.relay.Relay;
import io.tailwater.agent.dataplane.relay.RelayEnd;
import io.tailwater.agent.dataplane.relay.RelayObserver;
import io.tailwater.agent.dataplane.relay.Relays;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.dataplane.sniff.PrefaceSniffer;
import io.tailwater.agent.dataplane.sniff.Sniffed;
import io.tailwater.agent.dataplane.transport.StreamSocket;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.Refusal;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The life of one connection, top to bottom:
///
/// ```
/// begin ─▶ sniff ─▶ route ─▶ connect ─▶ relay ─▶ over
///            │        └▶ refuse ◀──┘
///            └ skipped where the decision needs no name
/// ```
///
/// Transitions only: each stage's work is in its own room. Everything runs on the connection's one
/// loop. Owns the client's socket and the bytes read ahead until the relay takes both.
final class ConnectionFlow implements Flow, StreamSocket.Reader, RelayObserver {
  private static final Logger LOG = LoggerFactory.getLogger(ConnectionFlow.class);

  /// Where a refusal is certain before a byte was read: how long a ClientHello or request line is
  /// awaited, so that the denial has a name.
  private static final long NAME_FOR_DENIAL_MILLIS = 300;

  private final Worker worker;
  private final Stages stages;
  private final ServedPod pod;
  private final StreamSocket client;
  private final ConnectionRecord record;
  private final boolean direct;
  private final ClientView view;

  private Phase phase = new Phase.Begun();
  private ByteBuf ahead = Unpooled.EMPTY_BUFFER;
  private boolean tooLate;
  private boolean tooLong;
  private @Nullable ScheduledFuture<?> deadline;

  /// Where the connection is, with what belongs to that stage alone.
  private sealed interface Phase {
    /// Accepted, nothing decided.
    record Begun() implements Phase {}

    /// The first bytes are awaited; the decision needs them.
    record Sniffing(PrefaceSniffer sniffer) implements Phase {}

    /// It will be refused; the first bytes are awaited for the record only.
    record Naming(PrefaceSniffer sniffer, Decision.Refuse refusal) implements Phase {}

    /// Names are being resolved, then the upstream is being dialled.
    final class Connecting implements Phase {
      /// Null until it has begun.
      private Connector.@Nullable Attempt attempt;
    }

    /// Bytes move.
    record Relaying(Relay relay, UpstreamConnection upstream) implements Phase {}

    /// HTTP: each request is decided for itself.
    final class Requesting implements Phase {
      /// Null until it has begun.
      private @Nullable HttpConnection http;
    }

    /// Ended and told.
    record Over() implements Phase {}
  }

  ConnectionFlow(Worker worker, ServedPod pod, Intercepted accepted, ConnectionRecord record) {
    this.worker = worker;
    this.stages = worker.stages();
    this.pod = pod;
    this.client = accepted.socket();
    this.record = record;
    this.direct = accepted.direct();
    // Read once: one connection is judged by one table.
    this.view = pod.view(stages.routes().get());
  }

  // ---- begin

  void begin() {
    try {
      take();
    } catch (RuntimeException e) {
      failed(e);
    }
  }

  private void take() {
    if (pod.told().isPresent()) {
      record.told(pod.told().get().names(record.dst().address()));
    }
    String reached = stages.admission().admit(pod);
    stages.observer().accepted(record);
    worker.add(this);
    client.reader(this);
    if (!reached.isEmpty()) {
      end(new Outcome.Refused(Refusal.LIMIT, reached), false);
      return;
    }
    if (direct) {
      refuse(Refusal.DIRECT_HIT, "");
      return;
    }
    switch (view.ask(record.dst())) {
      case PREFACE -> sniff();
      case NOTHING -> route(new Preface.Silent());
    }
  }

  // ---- sniff

  private void sniff() {
    if (!stages.admission().beginHandshake(pod)) {
      refuse(Refusal.LIMIT, "limits.pendingHandshakes is reached");
      return;
    }
    record.stage("sniffing");
    phase = new Phase.Sniffing(new PrefaceSniffer(stages.limits().clientHelloBytes()));
    client.read();
    if (phase instanceof Phase.Sniffing) { // mostly the hello is there already
      schedule(stages.limits().clientHelloTime().toMillis());
    }
  }

  @Override
  public void bytes(ByteBuf bytes) {
    try {
      take(bytes);
    } catch (RuntimeException e) {
      failed(e);
    }
  }

  private void take(ByteBuf bytes) {
    if (phase instanceof Phase.Over) {
      bytes.release();
      return;
    }
    if (ahead.isReadable()) {
      ahead = append(ahead, bytes);
    } else {
      ahead.release();
      ahead = bytes;
    }
    switch (phase) {
      case Phase.Sniffing(PrefaceSniffer sniffer) -> {
        switch (sniffer.sniff(ahead)) {
          case Sniffed.As(Preface preface) -> sniffed(preface);
          case Sniffed.NeedMore _ -> client.read();
          case Sniffed.Not _ -> sniffed(new Preface.Opaque());
        }
      }
      case Phase.Naming(PrefaceSniffer sniffer, Decision.Refuse refusal) -> {
        switch (sniffer.sniff(ahead)) {
          case Sniffed.As(Preface preface) -> named(preface, refusal);
          case Sniffed.NeedMore _ -> client.read();
          case Sniffed.Not _ -> named(new Preface.Opaque(), refusal);
        }
      }
      case Phase.Begun _,
          Phase.Connecting _,
          Phase.Relaying _,
          Phase.Requesting _,
          Phase.Over _ -> {}
    }
  }

  private static ByteBuf append(ByteBuf head, ByteBuf tail) {
    try {
      if (head.isWritable(tail.readableBytes())) {
        return head.writeBytes(tail);
      }
      ByteBuf grown = head.alloc().directBuffer((head.readableBytes() + tail.readableBytes()) * 2);
      grown.writeBytes(head).writeBytes(tail);
      head.release();
      return grown;
    } finally {
      tail.release();
    }
  }

  private void sniffed(Preface preface) {
    cancelDeadline();
    stages.admission().endHandshake(pod);
    phase = new Phase.Begun();
    if (preface instanceof Preface.Silent && client.inputRead()) {
      end(new Outcome.ClientGone(), true); // it closed without a word: nothing to carry
      return;
    }
    route(preface);
  }

  // ---- route

  private void route(Preface preface) {
    record.preface(preface);
    Decision decision = view.decide(record.dst(), preface).named(preface);
    record.decision(decision);
    switch (decision) {
      case Decision.Refuse refusal -> {
        if (preface instanceof Preface.Silent && refusal.why() != Refusal.HELLO_TIMEOUT) {
          awaitName(refusal);
        } else {
          // A part of a hello is malformed, but what is wrong with this one is that the rest did
          // not
          // come in time.
          boolean late = tooLate && preface instanceof Preface.MalformedTls;
          refuse(late ? Refusal.HELLO_TIMEOUT : refusal.why(), detailOf(preface));
        }
      }
      case Decision.Passthrough _ -> pass();
      case Decision.Forward forward when forward.target().tunnelled() -> withoutTunnel();
      case Decision.Forward forward -> connect(ConnectRequest.forBytes(forward));
      case Decision.PerRequest _ -> requests(preface instanceof Preface.Http http && http.http2());
      case Decision.ByName byName ->
          throw new IllegalStateException("no name for " + byName.cluster());
      case Decision.ToWaypoint waypoint ->
          refuse(Refusal.NOT_SUPPORTED_YET, "waypoints are not used yet: " + waypoint.waypoint());
    }
  }

  /// HBONE is not spoken yet. Where unknown destinations pass, so does this one, as it was dialled;
  /// else it is not sent in the clear to where a tunnel is expected.
  private void withoutTunnel() {
    if (view.registryOnly() && view.mode() != EgressMode.AUDIT) {
      refuse(Refusal.NOT_SUPPORTED_YET, "HBONE is not spoken yet");
    } else {
      pass();
    }
  }

  /// To the dialled address.
  private void pass() {
    connect(new ConnectRequest.ToDialled(record.dst()));
  }

  private static String detailOf(Preface preface) {
    return preface instanceof Preface.MalformedTls(String why, _) ? why : "";
  }

  private void awaitName(Decision.Refuse refusal) {
    record.stage("refusing");
    phase = new Phase.Naming(new PrefaceSniffer(stages.limits().clientHelloBytes()), refusal);
    client.read();
    if (phase instanceof Phase.Naming) {
      schedule(NAME_FOR_DENIAL_MILLIS);
    }
  }

  private void named(Preface preface, Decision.Refuse refusal) {
    cancelDeadline();
    record.preface(preface);
    refuse(refusal.why(), "");
  }

  // ---- connect

  /// The client, for whoever connects for it.
  Connector.Client asClient() {
    return new Connector.Client(
        pod.pod().ref(),
        record.dst(),
        record.client().address(),
        pod.locality(),
        client.loop(),
        worker.maker(),
        pod.place());
  }

  private void connect(ConnectRequest request) {
    record.stage("resolving");
    Phase.Connecting mine = new Phase.Connecting();
    phase = mine;
    mine.attempt = stages.connector().connect(asClient(), request, new Connected());
  }

  /// Hears how connecting goes.
  private final class Connected implements Connector.Listener {
    @Override
    public void dialling() {
      record.stage("connecting");
      pod.relayed(record);
      stages.observer().opened(record);
    }

    @Override
    public void connected(UpstreamConnection connection) {
      record.upstream(connection.endpoint().address());
      try {
        relay(connection);
      } catch (RuntimeException e) {
        failed(e);
      }
    }

    @Override
    public void refused(Refusal why, String detail) {
      refuse(why, detail);
    }

    @Override
    public void filtered() {
      // Audit lets a filtered name pass to the dialled address.
      record
          .decision()
          .ifPresent(decision -> {
            if (decision instanceof Decision.Forward forward) {
              record.decision(
                  new Decision.Passthrough(
                      Optional.of(Refusal.ADDRESS_FILTERED), Optional.of(forward.resource())));
            }
          });
      guarded(ConnectionFlow.this::pass);
    }
  }

  // ---- relay

  private void relay(UpstreamConnection connection) {
    if (phase instanceof Phase.Over) { // it was lost just now
      connection.socket().close();
      connection.ended();
      return;
    }
    ConnectionPolicy policy = connection.policy();
    StreamSocket upstream = connection.socket();
    Relay relay =
        Relays.between(
            client,
            upstream,
            stages.highest(),
            this,
            policy.idleTimeout().orElse(stages.limits().idleTimeout()).toNanos(),
            worker.pipes());
    record.stage("relaying");
    record.grade(relay.grade());
    connection.endpoint().opened();
    phase = new Phase.Relaying(relay, connection);
    policy.maxConnectionDuration().ifPresent(longest -> schedule(longest.toMillis()));
    ByteBuf readAhead = ahead;
    ahead = Unpooled.EMPTY_BUFFER;
    // Where the mode is off, nothing is read, not even in passing.
    boolean unread = record.preface() instanceof Preface.Silent && view.mode() != EgressMode.OFF;
    if (unread && readAhead.isReadable()) {
      firstClientBytes(readAhead);
      unread = false;
    }
    relay.start(readAhead, unread);
  }

  @Override
  public void firstClientBytes(ByteBuf bytes) {
    // In passing, for the inventory: what one look shows, nothing more.
    PrefaceSniffer sniffer = new PrefaceSniffer(stages.limits().clientHelloBytes());
    if (sniffer.sniff(bytes) instanceof Sniffed.As(Preface preface)) {
      record.preface(preface);
    }
  }

  @Override
  public void ended(RelayEnd relayEnd) {
    end(
        switch (relayEnd) {
          case RelayEnd.Finished _ -> new Outcome.Finished();
          case RelayEnd.Reset(boolean byClient) -> new Outcome.Reset(byClient);
          case RelayEnd.Idle _ -> new Outcome.IdleTimeout();
          case RelayEnd.Stopped _ -> tooLong ? new Outcome.TimeLimit() : new Outcome.Drained();
        },
        true);
  }

  // ---- requests

  private void requests(boolean http2) {
    record.stage("requests");
    record.grade(Grade.COPY);
    Phase.Requesting mine = new Phase.Requesting();
    phase = mine;
    boolean inputRead = client.inputRead();
    client.channel(channel -> guarded(() -> serve(mine, channel, http2, inputRead)));
  }

  private void serve(
      Phase.Requesting mine, Channel channel, boolean http2, boolean clientInputRead) {
    if (phase != mine || !channel.isOpen()) {
      channel.close();
      clientGone();
      return;
    }
    ByteBuf readAhead = ahead;
    ahead = Unpooled.EMPTY_BUFFER;
    RequestFlow requests =
        new RequestFlow(
            stages,
            view,
            record,
            asClient(),
            end ->
                end(
                    switch (end) {
                      case FINISHED, BAD_REQUEST -> new Outcome.Finished();
                      case CLIENT_RESET -> new Outcome.Reset(true);
                      case UPSTREAM_RESET -> new Outcome.Reset(false);
                      case IDLE -> new Outcome.IdleTimeout();
                      case STOPPED -> new Outcome.Drained();
                    },
                    true));
    mine.http =
        HttpConnection.serve(
            channel, readAhead, clientInputRead, http2, requests, requests, stages.limits().http());
  }

  // ---- over

  private void refuse(Refusal why, String detail) {
    end(new Outcome.Refused(why, detail), true);
  }

  private void end(Outcome outcome, boolean admitted) {
    if (phase instanceof Phase.Over) {
      return;
    }
    Phase last = phase;
    phase = new Phase.Over();
    cancelDeadline();
    switch (last) {
      case Phase.Sniffing _ -> stages.admission().endHandshake(pod);
      case Phase.Connecting connecting -> {
        if (connecting.attempt != null) {
          connecting.attempt.cancel();
        }
      }
      case Phase.Relaying(Relay relay, UpstreamConnection upstream) -> {
        account(relay);
        upstream.endpoint().closed(System.nanoTime());
        upstream.ended();
        if (outcome instanceof Outcome.IdleTimeout) {
          record
              .decision()
              .flatMap(Decision::cluster)
              .ifPresent(c -> stages.clusters().cluster(c).idleTimedOut());
        }
      }
      case Phase.Requesting requesting -> {
        if (requesting.http != null) {
          account(requesting.http);
          requesting.http.stop();
        }
      }
      case Phase.Begun _, Phase.Naming _, Phase.Over _ -> {}
    }
    ahead.release();
    ahead = Unpooled.EMPTY_BUFFER;
    if (outcome instanceof Outcome.ClientGone) {
      client.close();
    } else if (!(last instanceof Phase.Relaying || last instanceof Phase.Requesting)) {
      client.reset();
    }
    worker.remove(this);
    record.stage("closed");
    stages.observer().ended(record, outcome);
    if (admitted) {
      stages.admission().left(pod);
    }
  }

  // ---- what may happen at any stage

  /// For steps that others call. Those of every connection call [#failed] themselves: a lambda that
  /// captures something is made by a call into the JVM where C1 compiles it.
  private void guarded(Runnable step) {
    try {
      step.run();
    } catch (RuntimeException e) {
      failed(e);
    }
  }

  /// A defect ends this connection and gives back what it holds, instead of leaving it open without
  /// anybody who cares.
  private void failed(RuntimeException defect) {
    LOG.error("connection {} of {} failed", record.id(), pod.pod().ref(), defect);
    refuse(Refusal.CONNECT_FAILED, "the agent failed, see its log");
  }

  @Override
  public void inputEnded() {
    guarded(() -> {
      switch (phase) {
        case Phase.Sniffing(PrefaceSniffer sniffer) -> sniffed(sniffer.atEnd(ahead));
        case Phase.Naming(PrefaceSniffer sniffer, Decision.Refuse refusal) ->
            named(sniffer.atEnd(ahead), refusal);
        case Phase.Begun _,
            Phase.Connecting _,
            Phase.Relaying _,
            Phase.Requesting _,
            Phase.Over _ -> {}
      }
    });
  }

  @Override
  public void lost(Throwable why) {
    clientGone();
  }

  private void clientGone() {
    if (phase instanceof Phase.Naming(_, Decision.Refuse refusal)) {
      refuse(refusal.why(), ""); // decided already: it stays a refusal
    } else {
      end(new Outcome.ClientGone(), true);
    }
  }

  private void schedule(long millis) {
    deadline =
        client.loop().schedule(() -> guarded(this::deadlinePassed), millis, TimeUnit.MILLISECONDS);
  }

  private void cancelDeadline() {
    if (deadline != null) {
      deadline.cancel(false);
      deadline = null;
    }
  }

  private void deadlinePassed() {
    deadline = null;
    switch (phase) {
      case Phase.Sniffing(PrefaceSniffer sniffer) -> {
        tooLate = true;
        sniffed(sniffer.atEnd(ahead));
      }
      case Phase.Naming(_, Decision.Refuse refusal) -> refuse(refusal.why(), "");
      case Phase.Relaying(Relay relay, _) -> {
        tooLong = true;
        relay.stop();
      }
      case Phase.Begun _, Phase.Connecting _, Phase.Requesting _, Phase.Over _ -> {}
    }
  }

  @Override
  public ServedPod pod() {
    return pod;
  }

  @Override
  public void tick(long now) {
    if (phase instanceof Phase.Relaying(Relay relay, _)) {
      account(relay);
      relay.tick(now);
    }
    if (phase instanceof Phase.Requesting requesting && requesting.http != null) {
      account(requesting.http);
    }
  }

  /// At the client's socket; what went to which destination is counted with the requests.
  private void account(HttpConnection http) {
    long sent = http.fromClient() - record.bytesSent();
    long received = http.toClient() - record.bytesReceived();
    if (sent > 0 || received > 0) {
      record.bytes(http.fromClient(), http.toClient());
      stages.observer().progress(record, sent, received);
    }
  }

  private void account(Relay relay) {
    long sent = relay.sent() - record.bytesSent();
    long received = relay.received() - record.bytesReceived();
    if (sent > 0 || received > 0) {
      record.bytes(relay.sent(), relay.received());
      Optional<String> cluster = record.decision().flatMap(Decision::cluster);
      if (cluster.isPresent()) {
        stages.clusters().cluster(cluster.get()).bytes(sent, received);
      }
      stages.observer().progress(record, sent, received);
    }
  }

  @Override
  public void drain() {
    if (phase instanceof Phase.Relaying(Relay relay, _)) {
      relay.stop();
    } else if (phase instanceof Phase.Requesting requesting && requesting.http != null) {
      requesting.http.stop();
    } else {
      end(new Outcome.Drained(), true);
    }
  }

  @Override
  public ConnectionRecord currentRecord() {
    if (phase instanceof Phase.Relaying(Relay relay, _)) {
      account(relay);
    }
    return record.copy();
  }
}
