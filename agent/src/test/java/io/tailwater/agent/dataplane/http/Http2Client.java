package io.tailwater.agent.dataplane.http;

import io.netty.bootstrap.Bootstrap;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.EventLoop;
import io.netty.channel.epoll.EpollSocketChannel;
import io.netty.handler.codec.http2.DefaultHttp2DataFrame;
import io.netty.handler.codec.http2.DefaultHttp2Headers;
import io.netty.handler.codec.http2.DefaultHttp2HeadersFrame;
import io.netty.handler.codec.http2.DefaultHttp2ResetFrame;
import io.netty.handler.codec.http2.Http2DataFrame;
import io.netty.handler.codec.http2.Http2Error;
import io.netty.handler.codec.http2.Http2FrameCodecBuilder;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.handler.codec.http2.Http2HeadersFrame;
import io.netty.handler.codec.http2.Http2MultiplexHandler;
import io.netty.handler.codec.http2.Http2ResetFrame;
import io.netty.handler.codec.http2.Http2StreamChannelBootstrap;
import io.netty.util.ReferenceCountUtil;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/// A client that speaks HTTP/2 with prior knowledge and checks nothing, so that a test can say what
/// must not be said.
final class Http2Client implements AutoCloseable {
  private final Channel connection;

  Http2Client(EventLoop loop, InetSocketAddress to) {
    connection =
        new Bootstrap()
            .group(loop)
            .channel(EpollSocketChannel.class)
            .handler(
                new ChannelInitializer<Channel>() {
                  @Override
                  protected void initChannel(Channel channel) {
                    channel
                        .pipeline()
                        .addLast(
                            Http2FrameCodecBuilder.forClient().validateHeaders(false).build(),
                            new Http2MultiplexHandler(new ChannelInboundHandlerAdapter()));
                  }
                })
            .connect(to)
            .syncUninterruptibly()
            .channel();
  }

  static Http2Headers get(String authority, String path) {
    return new DefaultHttp2Headers(false)
        .method("GET")
        .scheme("http")
        .authority(authority)
        .path(path);
  }

  static Http2Headers post(String authority, String path) {
    return get(authority, path).method("POST");
  }

  Stream open() {
    Stream stream = new Stream();
    stream.channel =
        new Http2StreamChannelBootstrap(connection)
            .handler(stream)
            .open()
            .syncUninterruptibly()
            .getNow();
    return stream;
  }

  /// A request without a body.
  Stream send(Http2Headers head) {
    return open().head(head, true);
  }

  /// One request and what comes back: lines `head 200`, `data xyz`, `trailers`, `reset 8`, `end`,
  /// `closed`.
  static final class Stream extends ChannelInboundHandlerAdapter {
    private final LinkedBlockingQueue<String> told = new LinkedBlockingQueue<>();
    private Channel channel;
    private Http2Headers lastHead;
    private boolean headSeen;

    Stream head(Http2Headers head, boolean end) {
      channel.writeAndFlush(new DefaultHttp2HeadersFrame(head, end)).syncUninterruptibly();
      return this;
    }

    Stream data(String text, boolean end) {
      channel
          .writeAndFlush(
              new DefaultHttp2DataFrame(
                  Unpooled.copiedBuffer(text, StandardCharsets.ISO_8859_1), end))
          .syncUninterruptibly();
      return this;
    }

    void reset() {
      channel.writeAndFlush(new DefaultHttp2ResetFrame(Http2Error.CANCEL)).syncUninterruptibly();
    }

    String next() {
      try {
        String line = told.poll(10, TimeUnit.SECONDS);
        if (line == null) {
          throw new AssertionError("nothing came");
        }
        return line;
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
    }

    Http2Headers lastHead() {
      return lastHead;
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object frame) {
      if (frame instanceof Http2HeadersFrame head) {
        lastHead = head.headers();
        told.add(
            !headSeen || head.headers().status() != null
                ? "head " + head.headers().status()
                : "trailers");
        headSeen = true;
        if (head.isEndStream()) {
          told.add("end");
        }
      } else if (frame instanceof Http2DataFrame data) {
        String text = data.content().toString(StandardCharsets.ISO_8859_1);
        if (!text.isEmpty()) {
          told.add("data " + text);
        }
        if (data.isEndStream()) {
          told.add("end");
        }
      }
      ReferenceCountUtil.release(frame);
    }

    @Override
    public void channelInactive(ChannelHandlerContext ctx) {
      told.add("closed");
    }

    @Override
    public void userEventTriggered(ChannelHandlerContext ctx, Object event) {
      if (event instanceof Http2ResetFrame reset) {
        told.add("reset " + reset.errorCode());
      }
      ReferenceCountUtil.release(event);
    }
  }

  @Override
  public void close() {
    connection.close().syncUninterruptibly();
  }
}
