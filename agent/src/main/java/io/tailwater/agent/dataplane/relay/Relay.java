package io.tailwater.agent.dataplane.relay;

import io.netty.buffer.ByteBuf;
import io.tailwater.agent.dataplane.transport.StreamSocket;
import io.tailwater.agent.traffic.Grade;
import java.io.IOException;

/// A running relay. Everything on the loop of its two sockets.
///
/// Half-close is passed on: the FIN of one side becomes a FIN to the other when all bytes before it
/// are delivered, and the other direction goes on. A reset becomes a reset.
public abstract sealed class Relay permits CopyRelay, SpliceRelay {
  final StreamSocket client;
  final StreamSocket upstream;
  final RelayObserver observer;
  private final long idleNanos;
  private long lastMoved;
  private boolean over;
  long sent;
  long received;

  Relay(
      StreamSocket client,
      StreamSocket upstream,
      RelayObserver observer,
      long idleNanos,
      long now) {
    this.client = client;
    this.upstream = upstream;
    this.observer = observer;
    this.idleNanos = idleNanos;
    this.lastMoved = now;
  }

  /// Begins with the bytes that were read ahead from the client, which it owns from now on. With
  /// `showFirst` the next client bytes are shown to the observer.
  public abstract void start(ByteBuf readAhead, boolean showFirst);

  /// Who moves the bytes.
  public abstract Grade grade();

  /// Lets go of what the kind of relay holds, after the sockets are closed.
  abstract void release();

  /// Payload bytes from client to upstream that were handed to the upstream's kernel socket.
  public final long sent() {
    return sent;
  }

  /// Payload bytes from upstream to client.
  public final long received() {
    return received;
  }

  /// Called now and then; ends it when nothing moved for the idle timeout.
  public final void tick(long now) {
    if (!over && idleNanos > 0 && now - lastMoved >= idleNanos) {
      end(new RelayEnd.Idle());
    }
  }

  /// Ends it now, by reset.
  public final void stop() {
    end(new RelayEnd.Stopped());
  }

  final void moved() {
    lastMoved = System.nanoTime();
  }

  final boolean isOver() {
    return over;
  }

  final void end(RelayEnd end) {
    if (over) {
      return;
    }
    over = true;
    if (end instanceof RelayEnd.Finished) {
      client.close();
      upstream.close();
    } else {
      client.reset();
      upstream.reset();
    }
    release();
    observer.ended(end);
  }

  /// Whether an I/O failure is the end of a TCP connection, as opposed to a defect of ours.
  static boolean isConnectionLoss(Throwable failure) {
    return failure instanceof IOException;
  }
}
