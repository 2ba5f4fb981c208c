package io.tailwater.agent.dataplane.http;

import io.netty.channel.EventLoop;
import io.netty.util.concurrent.ScheduledFuture;
import io.tailwater.agent.dataplane.http.Upstream.Place;
import io.tailwater.agent.traffic.Refusal;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.Stream;
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

  /// Where HTTP/2 was wanted and the server did not agree.
  private final Set<Object> onlyHttp1 = new HashSet<>();

  private @Nullable ScheduledFuture<?> sweep;
  private long sweepAt;
  private boolean closed;

  /// What taking a leg came to.
  sealed interface Taken {
    record Got(Leg leg) implements Taken {}

    record None(Refusal why, String detail) implements Taken {}
  }

  /// A request that waits for its connection; it holds a place of those that may.
  private record Waiter(Upstream to, Leg.Listener listener, Consumer<Taken> then) {
    void told(Taken taken) {
      to.left(Place.WAITING);
      then.accept(taken);
    }

    void none(String detail) {
      told(new Taken.None(Refusal.CONNECT_FAILED, detail));
    }
  }

  UpstreamPool(EventLoop loop, HttpLimits limits) {
    this.loop = loop;
    this.limits = limits;
  }

  /// A leg for one request; told once, perhaps before this returns.
  void take(Upstream to, Leg.Listener listener, Consumer<Taken> then) {
    boolean http2 = to.http2() && !onlyHttp1.contains(to.key());
    if (http2 ? takeStream(to, listener, then) : takeParked(to, listener, then)) {
      return;
    }
    if (!to.admit(Place.WAITING)) {
      then.accept(
          new Taken.None(
              Refusal.LIMIT,
              "http1MaxPendingRequests ("
                  + to.connection().limits().maxPendingRequests()
                  + ") of the destination is reached"));
      return;
    }
    Waiter waiter = new Waiter(to, listener, then);
    if (http2) {
      dialOnce(waiter);
    } else {
      to.connect(connected -> connected(connected, List.of(waiter)));
    }
  }

  private boolean takeParked(Upstream to, Leg.Listener listener, Consumer<Taken> then) {
    for (Iterator<Http1Upstream> all = parked.iterator(); all.hasNext(); ) {
      Http1Upstream kept = all.next();
      if (kept.key().equals(to.key())) {
        all.remove();
        begin(kept, listener, then);
        return true;
      }
    }
    return false;
  }

  private void begin(Http1Upstream on, Leg.Listener listener, Consumer<Taken> then) {
    busy.add(on);
    on.begin(listener);
    then.accept(new Taken.Got(on));
  }

  private boolean takeStream(Upstream to, Leg.Listener listener, Consumer<Taken> then) {
    for (Http2Upstream open : shared) {
      if (open.key().equals(to.key()) && open.hasRoom()) {
        open.open(listener, then);
        return true;
      }
    }
    return false;
  }

  /// The first dials, and those that come meanwhile share what it gets.
  private void dialOnce(Waiter waiter) {
    Object key = waiter.to().key();
    List<Waiter> others = dialling.get(key);
    if (others != null) {
      others.add(waiter);
      return;
    }
    List<Waiter> waiters = new ArrayList<>(List.of(waiter));
    dialling.put(key, waiters);
    waiter
        .to()
        .connect(connected -> {
          dialling.remove(key);
          connected(connected, waiters);
        });
  }

  private void connected(Upstream.Connected connected, List<Waiter> waiters) {
    switch (connected) {
      case Upstream.Connected.Failed(Refusal why, String detail) ->
          waiters.forEach(w -> w.told(new Taken.None(why, detail)));
      case Upstream.Connected.Open open when closed -> {
        open.channel().close();
        waiters.forEach(w -> w.none("the client went away"));
      }
      case Upstream.Connected.Open open -> opened(open, waiters);
    }
  }

  private void opened(Upstream.Connected.Open open, List<Waiter> waiters) {
    Waiter first = waiters.getFirst();
    if (open.http2()) {
      Http2Upstream made =
          new Http2Upstream(this, first.to(), open.channel(), open.counter(), limits);
      shared.add(made);
      expires(made);
      waiters.forEach(w -> made.open(w.listener(), w::told));
      return;
    }
    Http1Upstream made =
        new Http1Upstream(this, first.to(), open.channel(), open.counter(), limits);
    expires(made);
    begin(made, first.listener(), first::told);
    if (first.to().http2()) {
      onlyHttp1.add(first.to().key());
    }
    // It carries one request: the others get one of their own each.
    waiters.stream()
        .skip(1)
        .forEach(w -> w.to().connect(connected -> connected(connected, List.of(w))));
  }

  /// Envoy's `max_connection_duration`, which cuts no request off.
  private void expires(Kept made) {
    made.policy()
        .maxConnectionDuration()
        .ifPresent(longest -> {
          ScheduledFuture<?> expiry =
              loop.schedule(made::retire, longest.toNanos(), TimeUnit.NANOSECONDS);
          made.channel().closeFuture().addListener(_ -> expiry.cancel(false));
        });
  }

  // ---- between requests

  /// A connection waits for its next request.
  void park(Http1Upstream connection) {
    busy.remove(connection);
    if (closed) {
      connection.close();
      return;
    }
    parked.addFirst(connection);
    if (parked.size() > limits.upstreamIdle()) {
      parked.removeLast().close();
    }
    resting(connection);
  }

  /// A connection has no request now.
  void resting(Kept connection) {
    planSweep(restsUntil(connection));
  }

  private long restsUntil(Kept connection) {
    return connection.restingSince()
        + connection.policy().http().idleTimeout().orElse(limits.upstreamIdleTime()).toNanos();
  }

  /// One timer for all, for the first that has rested enough; there is none per request.
  private void planSweep(long at) {
    if (closed || (sweep != null && sweepAt - at <= 0)) {
      return;
    }
    if (sweep != null) {
      sweep.cancel(false);
    }
    sweepAt = at;
    sweep =
        loop.schedule(
            this::sweepIdle, Math.max(0, at - loop.ticker().nanoTime()), TimeUnit.NANOSECONDS);
  }

  private void sweepIdle() {
    sweep = null;
    long now = loop.ticker().nanoTime();
    List<Kept> resting =
        Stream.<Kept>concat(parked.stream(), shared.stream()).filter(Kept::rests).toList();
    for (Kept one : resting) {
      if (restsUntil(one) - now <= 0) {
        one.close();
      } else {
        planSweep(restsUntil(one));
      }
    }
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
