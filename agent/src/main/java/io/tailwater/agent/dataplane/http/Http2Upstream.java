package io.tailwater.agent.dataplane.http;

import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.socket.ChannelInputShutdownEvent;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpObject;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http2.DefaultHttp2GoAwayFrame;
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
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// An HTTP/2 connection to a destination: a leg per stream. Flow control bounds what it holds, so
/// the connection itself is always read.
final class Http2Upstream implements Kept {
  private final UpstreamPool pool;
  private final Upstream to;
  private final Channel channel;
  private final Upstream.RequestCounter counter;
  private final HttpLimits limits;
  private int active;
  private int requests;
  private boolean leaving;
  private long restingSince;

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

  @Override
  public Object key() {
    return to.key();
  }

  @Override
  public ConnectionPolicy policy() {
    return to.connection();
  }

  @Override
  public Channel channel() {
    return channel;
  }

  boolean hasRoom() {
    return !leaving && channel.isActive() && active < limits.streams() && !usedUp(requests);
  }

  @Override
  public boolean rests() {
    return active == 0;
  }

  @Override
  public long restingSince() {
    return restingSince;
  }

  @Override
  public void retire() {
    if (!leaving) {
      channel.writeAndFlush(new DefaultHttp2GoAwayFrame(Http2Error.NO_ERROR));
      leave();
    }
  }

  @Override
  public void close() {
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
  private final class Stream extends UpstreamLeg {
    private final boolean used;
    private @Nullable Http2StreamChannel channel;
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
            restingSince = Http2Upstream.this.channel.eventLoop().ticker().nanoTime();
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
  }
}
