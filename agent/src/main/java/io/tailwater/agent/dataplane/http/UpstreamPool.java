package io.tailwater.agent.dataplane.http;

import io.netty.channel.Channel;
import io.netty.channel.EventLoop;
import io.netty.util.concurrent.ScheduledFuture;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.traffic.Refusal;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// The upstream connections of one client connection. An HTTP/1 connection carries one request at a
/// time and waits here between two; an HTTP/2 connection is shared by the requests at once. Nothing
/// is shared with another client. On the loop.
final class UpstreamPool {
  private final EventLoop loop;
  private final HttpLimits limits;
  private final ArrayDeque<Http1Upstream> parked = new ArrayDeque<>();
  private final List<Http1Upstream> busy = new ArrayList<>();
  private final List<Http2Upstream> shared = new ArrayList<>();
  private final Map<Object, List<Waiter>> dialling = new HashMap<>();
  private @Nullable ScheduledFuture<?> sweep;
  private boolean closed;

  /// What taking a leg came to.
  sealed interface Taken {
    record Got(Leg leg) implements Taken {}

    record None(Refusal why, String detail) implements Taken {}
  }

  private record Waiter(Leg.Listener listener, Consumer<Taken> then) {}

  UpstreamPool(EventLoop loop, HttpLimits limits) {
    this.loop = loop;
    this.limits = limits;
  }

  /// A leg for one request; told once, perhaps before this returns.
  void take(Upstream to, Leg.Listener listener, Consumer<Taken> then) {
    if (to.http2()) {
      takeStream(to, new Waiter(listener, then));
      return;
    }
    for (Iterator<Http1Upstream> all = parked.iterator(); all.hasNext(); ) {
      Http1Upstream kept = all.next();
      if (kept.key().equals(to.key())) {
        all.remove();
        busy.add(kept);
        kept.begin(listener);
        then.accept(new Taken.Got(kept));
        return;
      }
    }
    to.connect(connected -> {
      switch (connected) {
        case Upstream.Connected.Failed(Refusal why, String detail) ->
            then.accept(new Taken.None(why, detail));
        case Upstream.Connected.Open(Channel channel, Upstream.RequestCounter counter) -> {
          if (closed) {
            channel.close();
            then.accept(new Taken.None(Refusal.CONNECT_FAILED, "the client went away"));
            return;
          }
          Http1Upstream made = new Http1Upstream(this, to, channel, counter, limits);
          busy.add(made);
          made.begin(listener);
          then.accept(new Taken.Got(made));
        }
      }
    });
  }

  private void takeStream(Upstream to, Waiter waiter) {
    for (Http2Upstream open : shared) {
      if (open.key().equals(to.key()) && open.hasRoom()) {
        open.open(waiter.listener(), waiter.then());
        return;
      }
    }
    List<Waiter> others = dialling.get(to.key());
    if (others != null) {
      others.add(waiter);
      return;
    }
    List<Waiter> waiters = new ArrayList<>(List.of(waiter));
    dialling.put(to.key(), waiters);
    to.connect(connected -> {
      dialling.remove(to.key());
      switch (connected) {
        case Upstream.Connected.Failed(Refusal why, String detail) ->
            waiters.forEach(w -> w.then().accept(new Taken.None(why, detail)));
        case Upstream.Connected.Open(Channel channel, Upstream.RequestCounter counter) -> {
          if (closed) {
            channel.close();
            waiters.forEach(w ->
                w.then().accept(new Taken.None(Refusal.CONNECT_FAILED, "the client went away")));
            return;
          }
          Http2Upstream made = new Http2Upstream(this, to, channel, counter, limits);
          shared.add(made);
          waiters.forEach(w -> made.open(w.listener(), w.then()));
        }
      }
    });
  }

  /// A connection waits for its next request.
  void park(Http1Upstream connection) {
    busy.remove(connection);
    if (closed) {
      connection.close();
      return;
    }
    connection.parkedAt(loop.ticker().nanoTime());
    parked.addFirst(connection);
    if (parked.size() > limits.upstreamIdle()) {
      parked.removeLast().close();
    }
    planSweep();
  }

  /// A shared connection has no request now.
  void resting(Http2Upstream connection) {
    connection.parkedAt(loop.ticker().nanoTime());
    planSweep();
  }

  private void planSweep() {
    if (sweep == null && !closed) {
      sweep =
          loop.schedule(this::sweepIdle, limits.upstreamIdleTime().toNanos(), TimeUnit.NANOSECONDS);
    }
  }

  /// Now and then, not a timer per request: a connection is kept for one to two idle times.
  private void sweepIdle() {
    sweep = null;
    long now = loop.ticker().nanoTime();
    List<Http1Upstream> old =
        parked.stream().filter(c -> c.restedFor(now, idleTime(c.policy()))).toList();
    old.forEach(c -> {
      parked.remove(c);
      c.close();
    });
    List<Http2Upstream> unused =
        shared.stream().filter(c -> c.restedFor(now, idleTime(c.policy()))).toList();
    unused.forEach(Http2Upstream::close);
    if (!parked.isEmpty() || shared.stream().anyMatch(Http2Upstream::rests)) {
      planSweep();
    }
  }

  private Duration idleTime(ConnectionPolicy policy) {
    return policy.idleTimeout().orElse(limits.upstreamIdleTime());
  }

  /// A connection is closed.
  void gone(Http1Upstream connection) {
    parked.remove(connection);
    busy.remove(connection);
  }

  /// A connection is closed, or takes no more requests.
  void gone(Http2Upstream connection) {
    shared.remove(connection);
  }

  /// The client is gone: closes everything.
  void close() {
    closed = true;
    if (sweep != null) {
      sweep.cancel(false);
    }
    List.copyOf(parked).forEach(Http1Upstream::close);
    List.copyOf(busy).forEach(Http1Upstream::close);
    List.copyOf(shared).forEach(Http2Upstream::close);
    parked.clear();
    busy.clear();
    shared.clear();
  }
}
