package io.tailwater.agent.dataplane.http;

import io.netty.buffer.ByteBuf;
import io.netty.channel.Channel;
import io.netty.channel.ChannelDuplexHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelPromise;
import io.netty.util.concurrent.ScheduledFuture;
import io.tailwater.agent.dataplane.http.HttpObserver.HttpEnd;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/// One client connection that speaks plaintext HTTP, from the hand-over to its end. Everything on
/// the loop of its channel, which it owns, as it owns the upstream connections that it was given.
///
/// ```
///                  ┌ Http1Server ┐                    ┌ Http1Upstream (one request at a time)
/// client channel ──┤             ├─ Exchange ─ Leg ───┤
///                  └ Http2Server ┘  per request       └ Http2Upstream (a stream per request)
/// ```
public final class HttpConnection {
  private final Channel client;
  private final Upstreams upstreams;
  private final HttpObserver observer;
  private final HttpLimits limits;
  private final UpstreamPool pool;
  private final Meter meter = new Meter();
  private @Nullable Http1Server http1;
  private @Nullable Http2Server http2;
  private @Nullable ScheduledFuture<?> idleTimer;
  private long lastMoved;
  private boolean draining;
  private Optional<HttpEnd> ending = Optional.empty();

  private HttpConnection(
      Channel client, Upstreams upstreams, HttpObserver observer, HttpLimits limits) {
    this.client = client;
    this.upstreams = upstreams;
    this.observer = observer;
    this.limits = limits;
    this.pool = new UpstreamPool(client.eventLoop(), limits);
    this.lastMoved = now();
  }

  /// Takes a connection over. On its loop; its pipeline has no handler of others.
  ///
  /// @param ahead what was read of it already, from its first byte; owned from now on
  /// @param inputEnded whether the client's FIN was read already, behind those bytes
  /// @param http2 whether it speaks HTTP/2 with prior knowledge, as the first bytes tell
  public static HttpConnection serve(
      Channel client,
      ByteBuf ahead,
      boolean inputEnded,
      boolean http2,
      Upstreams upstreams,
      HttpObserver observer,
      HttpLimits limits) {
    HttpConnection made = new HttpConnection(client, upstreams, observer, limits);
    made.start(ahead, inputEnded, http2);
    return made;
  }

  private void start(ByteBuf ahead, boolean inputEnded, boolean speaksHttp2) {
    client.pipeline().addLast(meter);
    client.closeFuture().addListener(_ -> closed());
    planIdle(limits.idleTime().toNanos());
    if (speaksHttp2) {
      Http2Server server = new Http2Server(this, client);
      http2 = server;
      server.start(ahead);
    } else {
      Http1Server server = new Http1Server(this, client);
      http1 = server;
      server.start(ahead, inputEnded);
    }
  }

  /// Bytes read from the client, those that were read ahead included.
  public long fromClient() {
    return meter.received;
  }

  /// Bytes handed to the client's socket.
  public long toClient() {
    return meter.sent;
  }

  /// Ends it in order: what is under way is finished, nothing new is taken.
  public void drain() {
    draining = true;
    if (http1 != null) {
      http1.drain();
    }
    if (http2 != null) {
      http2.drain();
    }
  }

  /// Ends it now, by reset.
  public void stop() {
    ending(HttpEnd.STOPPED);
    Tunnel.resetOnClose(client);
    client.close();
  }

  // ---- for the two servers

  HttpLimits limits() {
    return limits;
  }

  boolean draining() {
    return draining;
  }

  Exchange exchange(Downstream down, RequestHead head) {
    moved();
    return new Exchange(down, head, upstreams, pool, observer, client.eventLoop());
  }

  /// A request that could not be read was answered.
  void badRequest(BadRequest bad, boolean http2) {
    observer.ended(
        new RequestRecord(
            "",
            "",
            "",
            http2,
            bad.status(),
            0,
            0,
            0,
            Upstream.RequestEnd.CANCELLED,
            Optional.empty(),
            Optional.empty(),
            Optional.empty(),
            Optional.empty(),
            bad.why()));
  }

  /// How it will have ended; the first cause counts.
  void ending(HttpEnd how) {
    if (ending.isEmpty()) {
      ending = Optional.of(how);
    }
  }

  void moved() {
    lastMoved = now();
  }

  boolean restedFor(Duration time) {
    return now() - lastMoved >= time.toNanos();
  }

  private long now() {
    return client.eventLoop().ticker().nanoTime();
  }

  // ---- idle

  private void planIdle(long nanos) {
    idleTimer = client.eventLoop().schedule(this::checkIdle, nanos, TimeUnit.NANOSECONDS);
  }

  private void checkIdle() {
    if (!client.isOpen()) {
      return;
    }
    if (http1 != null) {
      http1.checkIdle(limits.idleTime());
    }
    if (http2 != null) {
      http2.checkIdle(limits.idleTime());
    }
    // A request may have moved since this was planned: it is looked at twice per idle time.
    planIdle(limits.idleTime().toNanos() / 2);
  }

  // ---- the end

  private void closed() {
    if (idleTimer != null) {
      idleTimer.cancel(false);
    }
    if (http1 != null) {
      http1.gone();
    }
    if (http2 != null) {
      http2.gone();
    }
    pool.close();
    observer.closed(ending.orElse(HttpEnd.FINISHED));
  }

  /// Counts bytes at the socket.
  private static final class Meter extends ChannelDuplexHandler {
    private long received;
    private long sent;

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) {
      if (message instanceof ByteBuf bytes) {
        received += bytes.readableBytes();
      }
      ctx.fireChannelRead(message);
    }

    @Override
    public void write(ChannelHandlerContext ctx, Object message, ChannelPromise promise) {
      if (message instanceof ByteBuf bytes) {
        sent += bytes.readableBytes();
      }
      ctx.write(message, promise);
    }
  }
}
