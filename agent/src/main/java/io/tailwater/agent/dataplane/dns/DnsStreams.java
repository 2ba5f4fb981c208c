package io.tailwater.agent.dataplane.dns;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.EventLoop;
import io.netty.channel.socket.ChannelInputShutdownEvent;
import io.netty.util.concurrent.ScheduledFuture;
import io.tailwater.agent.dataplane.transport.ListeningSocket;
import io.tailwater.agent.dataplane.transport.StreamSocket;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.Optional;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// DNS over TCP (RFC 7766): messages after two octets of length, answered as their answers come. A
/// connection is on the loop that it was accepted on; questions are put on the loop of its pod.
final class DnsStreams implements ListeningSocket.Intake {
  private static final Logger LOG = LoggerFactory.getLogger(DnsStreams.class);

  /// Queries of one connection that wait for their answers; no more are read meanwhile.
  private static final int MOST_OPEN = 32;

  private static final long IDLE_SECONDS = 10;
  private static final long REST_MILLIS = 250;

  private final ListeningSocket listener;
  private final EventLoop loop;
  private final Function<InetAddress, Optional<DnsClient>> pods;
  private final DnsProxy proxy;

  /// @param loop that the listener is on
  /// @param pods who asks from an address
  DnsStreams(
      ListeningSocket listener,
      EventLoop loop,
      Function<InetAddress, Optional<DnsClient>> pods,
      DnsProxy proxy) {
    this.listener = listener;
    this.loop = loop;
    this.pods = pods;
    this.proxy = proxy;
  }

  @Override
  public void accepted(
      StreamSocket socket, InetSocketAddress peer, Optional<OriginalDst> redirected) {
    DnsClient client = pods.apply(peer.getAddress()).orElse(null);
    if (client == null || !client.beginStream()) {
      socket.reset();
      return;
    }
    socket.channel(channel -> {
      channel.closeFuture().addListener(_ -> client.endStream());
      channel.pipeline().addLast(new Stream(channel, client));
      channel.read();
    });
  }

  @Override
  public void failed(Throwable why) {
    LOG.warn("accept failed for DNS: {}", why.getMessage());
    listener.pause();
    var _ = loop.schedule(listener::resume, REST_MILLIS, TimeUnit.MILLISECONDS);
  }

  /// One connection.
  private final class Stream extends ChannelInboundHandlerAdapter {
    private final Channel channel;
    private final DnsClient client;

    /// What has come and is no whole message yet; empty between messages.
    private ByteBuf input = Unpooled.EMPTY_BUFFER;

    private int open;
    private boolean ended;
    private boolean reading = true;
    private @Nullable ScheduledFuture<?> idle;

    Stream(Channel channel, DnsClient client) {
      this.channel = channel;
      this.client = client;
      rest();
    }

    private void rest() {
      if (idle != null) {
        idle.cancel(false);
      }
      idle = loop.schedule(() -> channel.close(), IDLE_SECONDS, TimeUnit.SECONDS);
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
        ask(query);
      }
      if (ended && open == 0) {
        channel.close();
      } else if (!ended && !reading && open < MOST_OPEN && channel.isActive()) {
        reading = true;
        channel.read();
      }
    }

    private void ask(byte[] query) {
      Answer answer = new Answer();
      if (client.loop().inEventLoop()) {
        proxy.query(client, query, answer);
        return;
      }
      try {
        client.loop().execute(() -> proxy.query(client, query, answer));
      } catch (RejectedExecutionException _) {
        channel.close(); // that loop has ended
      }
    }

    /// Goes on with something on the connection's own loop, not from within [#pump] itself.
    private void later(Runnable step) {
      try {
        loop.execute(step);
      } catch (RejectedExecutionException _) {
        LOG.debug("a loop ended before an answer came");
      }
    }

    private void answered(byte[] answer) {
      open--;
      ByteBuf out = channel.alloc().buffer(2 + answer.length);
      channel.writeAndFlush(out.writeShort(answer.length).writeBytes(answer));
    }

    /// For one query; on the pod's loop.
    private final class Answer implements DnsProxy.Reply {
      @Override
      public void send(byte[] answer) {
        if (loop.inEventLoop()) {
          answered(answer);
          later(Stream.this::pump);
        } else {
          later(() -> {
            answered(answer);
            pump();
          });
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
