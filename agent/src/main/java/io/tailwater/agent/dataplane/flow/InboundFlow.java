package io.tailwater.agent.dataplane.flow;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.tailwater.agent.dataplane.accept.Intercepted;
import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.connect.Dial;
import io.tailwater.agent.dataplane.relay.Relay;
import io.tailwater.agent.dataplane.relay.RelayEnd;
import io.tailwater.agent.dataplane.relay.RelayObserver;
import io.tailwater.agent.dataplane.relay.Relays;
import io.tailwater.agent.dataplane.transport.SocketPlace;
import io.tailwater.agent.dataplane.transport.StreamSocket;
import io.tailwater.agent.traffic.Refusal;
import java.net.InetSocketAddress;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The life of a connection that was made to a pod:
///
/// ```
/// begin ─▶ connect, as the client ─▶ relay ─▶ over
/// ```
///
/// Nothing is read before the pod's own server is connected: it may be the one that speaks first.
/// Everything runs on the connection's one loop. Owns the client's socket until the relay takes it.
final class InboundFlow implements Flow, StreamSocket.Reader, RelayObserver {
  private static final Logger LOG = LoggerFactory.getLogger(InboundFlow.class);

  private final Worker worker;
  private final Stages stages;
  private final ServedPod pod;
  private final SocketPlace place;
  private final StreamSocket client;
  private final ConnectionRecord record;
  private final boolean direct;
  private Phase phase = new Phase.Begun();

  /// Where the connection is, with what belongs to that stage alone.
  private sealed interface Phase {
    record Begun() implements Phase {}

    /// The pod's server is being dialled.
    record Connecting(Dial dial) implements Phase {}

    record Relaying(Relay relay) implements Phase {}

    /// Ended and told.
    record Over() implements Phase {}
  }

  /// @param place where sockets are born that stand at the client's address
  /// @param direct whether the agent's own ports were dialled: relaying there would loop
  InboundFlow(
      Worker worker,
      ServedPod pod,
      SocketPlace place,
      Intercepted accepted,
      boolean direct,
      ConnectionRecord record) {
    this.worker = worker;
    this.stages = worker.stages();
    this.pod = pod;
    this.place = place;
    this.client = accepted.socket();
    this.record = record;
    this.direct = direct;
  }

  void begin() {
    guarded(this::take);
  }

  private void take() {
    String reached = stages.admission().admit(pod);
    stages.observer().accepted(record);
    worker.add(this);
    client.reader(this);
    if (!reached.isEmpty()) {
      end(new Outcome.Refused(Refusal.LIMIT, reached), false);
    } else if (direct) {
      refuse(Refusal.DIRECT_HIT, "");
    } else {
      // Every client may connect: authorization of the mesh would be asked here.
      connect();
    }
  }

  // ---- connect

  private void connect() {
    record.stage("connecting");
    stages.observer().opened(record);
    Dial dial =
        new Dial(
            client.loop(),
            worker.maker(),
            place,
            List.of(record.dst().socketAddress()),
            stages.limits().connectTimeout(),
            new Dialled());
    phase = new Phase.Connecting(dial);
    dial.start();
  }

  /// Hears how dialling goes.
  private final class Dialled implements Dial.Listener {
    @Override
    public void connected(StreamSocket server, InetSocketAddress address) {
      guarded(() -> relay(server, address));
    }

    @Override
    public void failed(boolean timedOut, String detail) {
      refuse(Refusal.CONNECT_FAILED, detail);
    }

    @Override
    public void attemptFailed(InetSocketAddress address) {}
  }

  // ---- relay

  private void relay(StreamSocket server, InetSocketAddress address) {
    if (!(phase instanceof Phase.Connecting)) { // it was lost just now
      server.close();
      return;
    }
    record.upstream(address);
    Relay relay =
        Relays.between(
            client,
            server,
            stages.highest(),
            this,
            stages.limits().idleTimeout().toNanos(),
            worker.pipes());
    record.stage("relaying");
    record.grade(relay.grade());
    phase = new Phase.Relaying(relay);
    relay.start(Unpooled.EMPTY_BUFFER, false);
  }

  @Override
  public void firstClientBytes(ByteBuf bytes) {} // not asked for

  @Override
  public void ended(RelayEnd relayEnd) {
    end(
        switch (relayEnd) {
          case RelayEnd.Finished _ -> new Outcome.Finished();
          case RelayEnd.Reset(boolean byClient) -> new Outcome.Reset(byClient);
          case RelayEnd.Idle _ -> new Outcome.IdleTimeout();
          case RelayEnd.Stopped _ -> new Outcome.Drained();
        },
        true);
  }

  // ---- over

  private void refuse(Refusal why, String detail) {
    end(new Outcome.Refused(why, detail), true);
  }

  private void end(Outcome outcome, boolean admitted) {
    Phase last = phase;
    if (last instanceof Phase.Over) {
      return;
    }
    phase = new Phase.Over();
    switch (last) {
      case Phase.Connecting(Dial dial) -> dial.cancel();
      case Phase.Relaying(Relay relay) -> account(relay);
      case Phase.Begun _, Phase.Over _ -> {}
    }
    if (outcome instanceof Outcome.ClientGone) {
      client.close();
    } else if (!(last instanceof Phase.Relaying)) {
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

  /// For steps that others call: a defect ends this connection and gives back what it holds.
  private void guarded(Runnable step) {
    try {
      step.run();
    } catch (RuntimeException e) {
      LOG.error("connection {} to {} failed", record.id(), pod.pod().ref(), e);
      refuse(Refusal.CONNECT_FAILED, "the agent failed, see its log");
    }
  }

  /// Nothing is read before the relay takes over.
  @Override
  public void bytes(ByteBuf bytes) {
    bytes.release();
  }

  @Override
  public void inputEnded() {} // the relay will read it and pass it on

  @Override
  public void lost(Throwable why) {
    end(new Outcome.ClientGone(), true);
  }

  @Override
  public ServedPod pod() {
    return pod;
  }

  @Override
  public void tick(long now) {
    if (phase instanceof Phase.Relaying(Relay relay)) {
      account(relay);
      relay.tick(now);
    }
  }

  private void account(Relay relay) {
    long sent = relay.sent() - record.bytesSent();
    long received = relay.received() - record.bytesReceived();
    if (sent > 0 || received > 0) {
      record.bytes(relay.sent(), relay.received());
      stages.observer().progress(record, sent, received);
    }
  }

  @Override
  public void drain() {
    if (phase instanceof Phase.Relaying(Relay relay)) {
      relay.stop();
    } else {
      end(new Outcome.Drained(), true);
    }
  }

  @Override
  public ConnectionRecord currentRecord() {
    if (phase instanceof Phase.Relaying(Relay relay)) {
      account(relay);
    }
    return record.copy();
  }
}
