package io.tailwater.agent.dataplane.dns;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.socket.ChannelInputShutdownEvent;
import io.netty.util.concurrent.ScheduledFuture;
import io.tailwater.agent.dataplane.transport.ListeningSocket;
import io.tailwater.agent.dataplane.transport.StreamSocket;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.InetSocketAddress;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// DNS over TCP of one pod (RFC 7766): messages after two octets of length, answered as their
/// answers come. The pod's loop only.
final class DnsStreams implements ListeningSocket.Intake {
  private static final Logger LOG = LoggerFactory.getLogger(DnsStreams.class);

  /// Connections of one pod at the same time.
  private static final int MOST = 128;

  /// Queries of one connection that wait for their answers; no more are read meanwhile.
  private static final int MOST_OPEN = 32;

  private static final long IDLE_SECONDS = 10;
  private static final long REST_MILLIS = 250;

  private final ListeningSocket listener;
  private final DnsClient client;
  private final DnsProxy proxy;
  private int connections;

  DnsStreams(ListeningSocket listener, DnsClient client, DnsProxy proxy) {
    this.listener = listener;
    this.client = client;
    this.proxy = proxy;
  }

  @Override
  public void accepted(
      StreamSocket socket, InetSocketAddress peer, Optional<OriginalDst> redirected) {
    if (connections >= MOST) {
      socket.reset();
      return;
    }
    connections++;
    socket.channel(channel -> {
      channel.closeFuture().addListener(_ -> connections--);
      channel.pipeline().addLast(new Stream(channel));
      channel.read();
    });
  }

  @Override
  public void failed(Throwable why) {
    LOG.warn("accept failed for DNS of {}: {}", client.pod().ref(), why.getMessage());
    listener.pause();
    var _ = client.loop().schedule(listener::resume, REST_MILLIS, TimeUnit.MILLISECONDS);
  }

  /// One connection.
  private final class Stream extends ChannelInboundHandlerAdapter {
    private final Channel channel;

    /// What has come and is no whole message yet; empty between messages.
    private ByteBuf input = Unpooled.EMPTY_BUFFER;

    private int open;
    private boolean ended;
    private boolean reading = true;
    private @Nullable ScheduledFuture<?> idle;

    Stream(Channel channel) {
      this.channel = channel;
      rest();
    }

    private void rest() {
      if (idle != null) {
        idle.cancel(false);
      }
      idle = client.loop().schedule(() -> channel.close(), IDLE_SECONDS, TimeUnit.SECONDS);
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) {
      ByteBuf more = (ByteBuf) message;
      if (!input.isReadable()) {
        input.release();
        input = more;
        return;
      }
      ByteBuf both = ctx.alloc().buffer(input.readableBytes() + more.readableBytes());
      both.writeBytes(input).writeBytes(more);
      input.release();
      more.release();
      input = both;
    }

    @Override
    public void channelReadComplete(ChannelHandlerContext ctx) {
      reading = false;
      pump();
    }

    /// Takes whole messages, then reads on where there is room for more.
    private void pump() {
      while (open < MOST_OPEN && input.readableBytes() >= 2) {
        int length = input.getUnsignedShort(input.readerIndex());
        if (input.readableBytes() < 2 + length) {
          break;
        }
        byte[] query = new byte[length];
        input.skipBytes(2).readBytes(query);
        open++;
        rest();
        proxy.query(client, query, new Answer());
      }
      if (ended && open == 0) {
        channel.close();
      } else if (!ended && !reading && open < MOST_OPEN && channel.isActive()) {
        reading = true;
        channel.read();
      }
    }

    /// For one query.
    private final class Answer implements DnsProxy.Reply {
      @Override
      public void send(byte[] answer) {
        open--;
        ByteBuf out = channel.alloc().buffer(2 + answer.length);
        channel.writeAndFlush(out.writeShort(answer.length).writeBytes(answer));
        if (!client.loop().isShuttingDown()) {
          client.loop().execute(Stream.this::pump); // not from within pump itself
        }
      }

      @Override
      public void nothing() {
        channel.close(); // who is not answered must learn it
      }

      @Override
      public boolean tcp() {
        return true;
      }
    }

    @Override
    public void userEventTriggered(ChannelHandlerContext ctx, Object event) {
      if (event instanceof ChannelInputShutdownEvent) {
        ended = true;
        pump();
      }
      ctx.fireUserEventTriggered(event);
    }

    @Override
    public void channelInactive(ChannelHandlerContext ctx) {
      ended = true;
      if (idle != null) {
        idle.cancel(false);
      }
      input.release();
      input = Unpooled.EMPTY_BUFFER;
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable failure) {
      LOG.debug("DNS over TCP of {}", client.pod().ref(), failure); // a reset, mostly
      ctx.close();
    }
  }
}
