package io.tailwater.agent.dataplane.http;

import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.socket.ChannelInputShutdownEvent;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpObject;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http2.DefaultHttp2ResetFrame;
import io.netty.handler.codec.http2.Http2Error;
import io.netty.handler.codec.http2.Http2FrameCodecBuilder;
import io.netty.handler.codec.http2.Http2GoAwayFrame;
import io.netty.handler.codec.http2.Http2MultiplexHandler;
import io.netty.handler.codec.http2.Http2Settings;
import io.netty.handler.codec.http2.Http2StreamChannel;
import io.netty.handler.codec.http2.Http2StreamChannelBootstrap;
import io.netty.util.ReferenceCountUtil;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.traffic.Refusal;
import java.time.Duration;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// An HTTP/2 connection to a destination: a leg per stream. Flow control bounds what it holds, so
/// the connection itself is always read.
final class Http2Upstream {
  private final UpstreamPool pool;
  private final Upstream to;
  private final Channel channel;
  private final Upstream.RequestCounter counter;
  private final HttpLimits limits;
  private int active;
  private int requests;
  private boolean leaving;
  private long parkedAt;

  Http2Upstream(
      UpstreamPool pool,
      Upstream to,
      Channel channel,
      Upstream.RequestCounter counter,
      HttpLimits limits) {
    this.pool = pool;
    this.to = to;
    this.channel = channel;
    this.counter = counter;
    this.limits = limits;
    channel
        .pipeline()
        .addLast(
            Http2FrameCodecBuilder.forClient()
                .initialSettings(
                    Http2Settings.defaultSettings()
                        .pushEnabled(false)
                        .maxHeaderListSize(limits.headBytes()))
                .encoderEnforceMaxConcurrentStreams(true)
                .gracefulShutdownTimeoutMillis(0)
                .build(),
            new Http2MultiplexHandler(new Refusing()),
            new Connection());
    channel.config().setAutoRead(true);
    channel.read();
  }

  /// Nobody opens streams towards us.
  private static final class Refusing extends ChannelInitializer<Channel> {
    @Override
    protected void initChannel(Channel stream) {
      stream.close();
    }
  }

  private final class Connection extends ChannelInboundHandlerAdapter {
    @Override
    public void channelRead(ChannelHandlerContext ctx, Object frame) {
      if (frame instanceof Http2GoAwayFrame) {
        leave();
      }
      ReferenceCountUtil.release(frame);
    }

    @Override
    public void userEventTriggered(ChannelHandlerContext ctx, Object event) {
      if (event instanceof ChannelInputShutdownEvent) {
        ctx.close();
      }
      ReferenceCountUtil.release(event);
    }

    @Override
    public void channelInactive(ChannelHandlerContext ctx) {
      leave();
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable failure) {
      Failures.note(failure);
      ctx.close();
    }
  }

  private void leave() {
    leaving = true;
    pool.gone(this);
    if (active == 0) {
      channel.close();
    }
  }

  Object key() {
    return to.key();
  }

  ConnectionPolicy policy() {
    return to.connection();
  }

  boolean hasRoom() {
    int most = to.connection().limits().maxRequestsPerConnection();
    return !leaving
        && channel.isActive()
        && active < limits.streams()
        && (most == 0 || requests < most);
  }

  boolean rests() {
    return active == 0;
  }

  void parkedAt(long nanos) {
    parkedAt = nanos;
  }

  boolean restedFor(long now, Duration time) {
    return rests() && now - parkedAt >= time.toNanos();
  }

  void close() {
    leaving = true;
    pool.gone(this);
    channel.close();
  }

  /// Opens a stream.
  void open(Leg.Listener listener, Consumer<UpstreamPool.Taken> then) {
    Stream stream = new Stream(listener, requests > 0);
    requests++;
    active++;
    new Http2StreamChannelBootstrap(channel)
        .handler(
            new ChannelInitializer<Channel>() {
              @Override
              protected void initChannel(Channel made) {
                made.config().setAutoRead(false);
                made.pipeline()
                    .addLast(new Http2Messages(false, limits.headFields()), stream.inbox);
              }
            })
        .open()
        .addListener(opened -> {
          if (opened.isSuccess()) {
            stream.channel = (Http2StreamChannel) opened.getNow();
            then.accept(new UpstreamPool.Taken.Got(stream));
          } else {
            stream.closed();
            then.accept(
                new UpstreamPool.Taken.None(
                    Refusal.CONNECT_FAILED, "the connection took no more requests"));
          }
        });
  }

  /// One request.
  private final class Stream implements Leg, Inbox.Reader {
    private final Inbox inbox = new Inbox(this);
    private final boolean used;
    private @Nullable Http2StreamChannel channel;
    private Leg.@Nullable Listener listener;
    private boolean refused;
    private boolean over;

    Stream(Leg.Listener listener, boolean used) {
      this.listener = listener;
      this.used = used;
    }

    private void closed() {
      if (!over) {
        over = true;
        active--;
        if (active == 0) {
          if (leaving) {
            Http2Upstream.this.channel.close();
          } else {
            pool.resting(Http2Upstream.this);
          }
        }
      }
    }

    @Override
    public void head(HttpRequest request, boolean whole) {
      write(whole ? Http2Messages.ending(request) : request);
    }

    @Override
    public void content(HttpContent content) {
      write(content);
    }

    private void write(HttpObject object) {
      Http2StreamChannel at = channel;
      if (at == null) {
        ReferenceCountUtil.release(object);
        return;
      }
      at.write(object)
          .addListener(written -> {
            if (!written.isSuccess()) {
              at.close();
            }
          });
    }

    @Override
    public void flush() {
      if (channel != null) {
        channel.flush();
      }
    }

    @Override
    public boolean writable() {
      return channel != null && channel.isWritable();
    }

    @Override
    public void ask() {
      inbox.ask();
    }

    @Override
    public boolean http2() {
      return true;
    }

    @Override
    public boolean used() {
      return used;
    }

    @Override
    public Upstream.RequestCounter counter() {
      return counter;
    }

    @Override
    public void complete(boolean reusable) {
      // both directions have ended, or nothing was sent: closing sends no more than is needed
      listener = null;
      if (channel != null) {
        channel.close();
      }
      closed();
    }

    @Override
    public void cancel() {
      listener = null;
      Http2StreamChannel at = channel;
      if (at != null && at.isActive()) {
        at.writeAndFlush(new DefaultHttp2ResetFrame(Http2Error.CANCEL))
            .addListener(_ -> at.close());
      }
      closed();
    }

    @Override
    public void object(HttpObject object) {
      Leg.Listener to = listener;
      if (to == null) {
        ReferenceCountUtil.release(object);
      } else {
        to.response(object);
      }
    }

    @Override
    public void ended() {
      Leg.Listener to = listener;
      listener = null;
      closed();
      if (to != null) {
        to.responseEnded(refused);
      }
    }

    @Override
    public void reset(long errorCode) {
      refused = errorCode == Http2Error.REFUSED_STREAM.code();
    }

    @Override
    public void pause() {
      Leg.Listener to = listener;
      if (to != null) {
        to.responsePause();
      }
    }

    @Override
    public void writabilityChanged() {
      Leg.Listener to = listener;
      if (to != null && writable()) {
        to.legWritable();
      }
    }
  }
}
