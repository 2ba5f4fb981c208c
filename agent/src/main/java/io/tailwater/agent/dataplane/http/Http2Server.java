package io.tailwater.agent.dataplane.http;

import io.netty.buffer.ByteBuf;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.socket.ChannelInputShutdownEvent;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpObject;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http2.DefaultHttp2GoAwayFrame;
import io.netty.handler.codec.http2.DefaultHttp2ResetFrame;
import io.netty.handler.codec.http2.Http2ConnectionAdapter;
import io.netty.handler.codec.http2.Http2Error;
import io.netty.handler.codec.http2.Http2Settings;
import io.netty.handler.codec.http2.Http2Stream;
import io.netty.handler.codec.http2.Http2StreamChannel;
import io.netty.util.ReferenceCountUtil;
import io.tailwater.agent.dataplane.http.HttpObserver.HttpEnd;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/// A client connection that speaks HTTP/2: an `Exchange` per stream. The connection is always read;
/// the windows of its streams, which open only as bytes are taken, bound what it holds. Floods of
/// resets, empty frames, settings and pings are Netty's to end.
final class Http2Server {
  private final HttpConnection connection;
  private final Channel client;
  private final HttpLimits limits;
  private final List<Stream> streams = new ArrayList<>();
  private boolean leaving;
  private boolean began;

  Http2Server(HttpConnection connection, Channel client) {
    this.connection = connection;
    this.client = client;
    this.limits = connection.limits();
  }

  void start(ByteBuf ahead) {
    client.pipeline().addLast(codec(), new Connection());
    client
        .eventLoop()
        .schedule(this::prefaceLate, limits.headTime().toNanos(), TimeUnit.NANOSECONDS);
    client.config().setAutoRead(true);
    client.pipeline().fireChannelRead(ahead);
    client.pipeline().fireChannelReadComplete();
    client.read();
  }

  /// The codec that Netty recommends instead tells a server by the channel's parent, which a
  /// connection that began as a bare descriptor has not (seen with 4.2.18: the first stream fails).
  @SuppressWarnings("deprecation")
  private ChannelHandler codec() {
    var codec =
        io.netty.handler.codec.http2.Http2MultiplexCodecBuilder.forServer(
                new ChannelInitializer<Channel>() {
                  @Override
                  protected void initChannel(Channel stream) {
                    open(stream);
                  }
                })
            .initialSettings(
                Http2Settings.defaultSettings()
                    .maxConcurrentStreams(limits.streams())
                    .maxHeaderListSize(limits.headBytes()))
            .gracefulShutdownTimeoutMillis(0)
            .build();
    codec.connection().addListener(new Closings());
    return codec;
  }

  /// A stream that the client resets is told to its channel behind what is not read of it yet.
  private final class Closings extends Http2ConnectionAdapter {
    @Override
    public void onStreamClosed(Http2Stream closed) {
      for (Stream stream : List.copyOf(streams)) {
        if (stream.channel instanceof Http2StreamChannel channel
            && channel.stream().id() == closed.id()) {
          stream.gone();
        }
      }
    }
  }

  private void prefaceLate() {
    if (!began) {
      connection.ending(HttpEnd.IDLE);
      client.close();
    }
  }

  private void open(Channel channel) {
    began = true;
    channel.config().setAutoRead(false);
    Stream stream = new Stream(channel);
    streams.add(stream);
    channel.pipeline().addLast(new Http2Messages(true, limits.headFields()), stream.inbox);
    channel.closeFuture().addListener(_ -> stream.gone());
    channel.eventLoop().execute(stream.inbox::ask);
  }

  /// Ends it when its streams have.
  void drain() {
    if (!leaving) {
      leaving = true;
      client.writeAndFlush(new DefaultHttp2GoAwayFrame(Http2Error.NO_ERROR));
      closeIfDone();
    }
  }

  private void closeIfDone() {
    if (leaving && streams.isEmpty()) {
      client.close();
    }
  }

  void checkIdle(Duration idle) {
    boolean late = false;
    for (Stream stream : List.copyOf(streams)) {
      Exchange exchange = stream.exchange;
      late |= exchange != null && exchange.checkIdle(idle);
    }
    if (!late && streams.isEmpty() && connection.restedFor(idle)) {
      connection.ending(HttpEnd.IDLE);
      drain();
    }
  }

  /// The channel is closed.
  void gone() {
    leaving = true;
    for (Stream stream : List.copyOf(streams)) {
      stream.gone();
    }
  }

  private final class Connection extends ChannelInboundHandlerAdapter {
    @Override
    public void channelRead(ChannelHandlerContext ctx, Object frame) {
      began = true;
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
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable failure) {
      Failures.note(failure);
      connection.ending(HttpEnd.CLIENT_RESET);
      ctx.close();
    }
  }

  /// One request.
  private final class Stream implements Inbox.Reader, Downstream {
    private final Channel channel;
    private final Inbox inbox = new Inbox(this);
    private @Nullable Exchange exchange;
    private boolean over;

    Stream(Channel channel) {
      this.channel = channel;
    }

    // ---- the request

    @Override
    public void object(HttpObject object) {
      Exchange current = exchange;
      if (over) {
        ReferenceCountUtil.release(object);
      } else if (current == null && object instanceof HttpRequest request) {
        read(request);
      } else if (current != null && object instanceof HttpContent content) {
        current.requestContent(content);
      } else {
        ReferenceCountUtil.release(object);
      }
    }

    private void read(HttpRequest request) {
      RequestHead head;
      try {
        head = RequestHead.read(request, true, Http2Messages.endsStream(request));
      } catch (BadRequest e) {
        LocalAnswer answer = new LocalAnswer(e.status(), e.why());
        channel.write(answer.head());
        channel.write(answer.last(false));
        channel.flush();
        connection.badRequest(e, true);
        finished(false);
        return;
      }
      Exchange next = connection.exchange(this, head);
      exchange = next;
      next.start();
    }

    @Override
    public void ended() {
      Exchange current = exchange;
      if (current != null && !current.isOver() && !current.isRequestRead()) {
        current.clientGone("the client ended the stream in the middle of its request");
        leave();
      }
    }

    @Override
    public void reset(long errorCode) {
      gone();
    }

    @Override
    public void pause() {
      Exchange current = exchange;
      if (current != null) {
        current.requestPause();
      }
    }

    @Override
    public void writabilityChanged() {
      Exchange current = exchange;
      if (current != null && channel.isWritable()) {
        current.clientWritable();
      }
    }

    private void gone() {
      Exchange current = exchange;
      exchange = null;
      if (current != null && !current.isOver()) {
        current.clientGone("the client went away");
      }
      leave();
    }

    private void leave() {
      if (!over) {
        over = true;
        streams.remove(this);
        connection.moved();
        closeIfDone();
      }
    }

    // ---- Downstream

    @Override
    public void askBody() {
      inbox.ask();
    }

    @Override
    public boolean writable() {
      return channel.isWritable();
    }

    @Override
    public void interim(HttpResponse response) {
      channel.write(response);
    }

    @Override
    public void head(HttpResponse response, boolean requestRead) {
      channel.write(response);
    }

    @Override
    public void content(HttpContent content) {
      channel.write(content);
    }

    @Override
    public void flush() {
      channel.flush();
    }

    @Override
    public void finished(boolean requestRead) {
      if (!requestRead && channel.isActive()) {
        // RFC 9113 section 8.1: the response is whole, the rest of the request is not wanted
        channel.writeAndFlush(new DefaultHttp2ResetFrame(Http2Error.NO_ERROR));
      }
      leave();
    }

    @Override
    public void abort() {
      if (channel.isActive()) {
        channel
            .writeAndFlush(new DefaultHttp2ResetFrame(Http2Error.INTERNAL_ERROR))
            .addListener(_ -> channel.close());
      }
      leave();
    }

    @Override
    public void tunnel(HttpResponse response, Leg leg) {
      leg.cancel(); // there is no Upgrade in HTTP/2
      abort();
    }
  }
}
