package io.tailwater.agent.dataplane.connect;

import io.netty.channel.EventLoop;
import io.netty.util.concurrent.ScheduledFuture;
import io.tailwater.agent.dataplane.transport.SocketMaker;
import io.tailwater.agent.dataplane.transport.SocketPlace;
import io.tailwater.agent.dataplane.transport.StreamSocket;
import java.net.Inet6Address;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/// Dials the candidates of one connection, racing them as RFC 8305 ("happy eyeballs") says: the
/// next one is tried when the one before has failed or has not answered for 250 ms; the first that
/// connects wins and the others are closed. The whole takes at most the connect timeout. Loop
/// thread only.
public final class Dial {
  /// RFC 8305 section 8: the recommended Connection Attempt Delay.
  static final long ATTEMPT_DELAY_MILLIS = 250;

  private final EventLoop loop;
  private final SocketMaker maker;
  private final SocketPlace place;
  private final List<InetSocketAddress> candidates;
  private final Duration timeout;
  private final Listener listener;
  private final List<Attempt> trying = new ArrayList<>(2);
  private int next;
  private int underWay;
  private boolean over;
  private String lastFailure = "";
  private @Nullable ScheduledFuture<?> deadline;
  private @Nullable ScheduledFuture<?> nextAttempt;

  private record Attempt(StreamSocket socket, InetSocketAddress address) {}

  /// Is told on the loop.
  public interface Listener {
    /// Connected; the socket is the listener's now. Exactly one of this and [#failed] comes.
    void connected(StreamSocket upstream, InetSocketAddress address);

    /// No candidate accepted.
    void failed(boolean timedOut, String detail);

    /// One candidate did not accept; others may.
    void attemptFailed(InetSocketAddress address);
  }

  public Dial(
      EventLoop loop,
      SocketMaker maker,
      SocketPlace place,
      List<InetSocketAddress> candidates,
      Duration timeout,
      Listener listener) {
    this.loop = loop;
    this.maker = maker;
    this.place = place;
    this.candidates =
        place.hasIpv6()
            ? candidates
            : candidates.stream().filter(a -> !(a.getAddress() instanceof Inet6Address)).toList();
    this.timeout = timeout;
    this.listener = listener;
  }

  /// Begins. The listener may be called before this returns.
  public void start() {
    if (candidates.isEmpty()) {
      over = true;
      listener.failed(false, "the pod has no IPv6 and the destination has only IPv6 addresses");
      return;
    }
    tryNext();
    if (!over) { // a connection to a near place is there at once
      deadline = loop.schedule(this::timedOut, timeout.toNanos(), TimeUnit.NANOSECONDS);
    }
  }

  /// Gives up without telling anybody.
  public void cancel() {
    if (!over) {
      finish();
    }
  }

  private void tryNext() {
    if (over || next >= candidates.size()) {
      return;
    }
    InetSocketAddress address = candidates.get(next++);
    int tried = next;
    underWay++;
    StandardProtocolFamily family =
        address.getAddress() instanceof Inet6Address
            ? StandardProtocolFamily.INET6
            : StandardProtocolFamily.INET;
    maker.take(
        place,
        family,
        new SocketMaker.Waiter() {
          @Override
          public void made(StreamSocket socket) {
            connect(socket, address);
          }

          @Override
          public void failed(RuntimeException why) {
            attemptFailed(address, why);
          }
        });
    if (!over && next == tried && next < candidates.size()) {
      nextAttempt = loop.schedule(this::tryNext, ATTEMPT_DELAY_MILLIS, TimeUnit.MILLISECONDS);
    }
  }

  private void connect(StreamSocket socket, InetSocketAddress address) {
    if (over) {
      socket.close();
      return;
    }
    Attempt attempt = new Attempt(socket, address);
    trying.add(attempt);
    socket.connect(loop, address, failure -> connectDone(attempt, failure));
  }

  private void connectDone(Attempt attempt, @Nullable Throwable failure) {
    if (over) {
      attempt.socket().close();
      return;
    }
    trying.remove(attempt);
    if (failure != null) {
      attempt.socket().close();
      attemptFailed(attempt.address(), failure);
      return;
    }
    finish();
    listener.connected(attempt.socket(), attempt.address());
  }

  private void attemptFailed(InetSocketAddress address, @Nullable Throwable why) {
    if (over) {
      return;
    }
    underWay--;
    lastFailure = why == null || why.getMessage() == null ? "cannot be reached" : why.getMessage();
    listener.attemptFailed(address);
    if (over) {
      return;
    }
    if (next < candidates.size()) {
      if (nextAttempt != null) {
        nextAttempt.cancel(false);
      }
      tryNext();
    } else if (underWay == 0) {
      finish();
      listener.failed(false, lastFailure);
    }
  }

  private void timedOut() {
    if (!over) {
      trying.forEach(attempt -> listener.attemptFailed(attempt.address()));
      finish();
      listener.failed(true, "no answer in " + timeout.toMillis() + " ms");
    }
  }

  private void finish() {
    over = true;
    if (deadline != null) {
      deadline.cancel(false);
    }
    if (nextAttempt != null) {
      nextAttempt.cancel(false);
    }
    trying.forEach(attempt -> attempt.socket().close());
    trying.clear();
  }
}
