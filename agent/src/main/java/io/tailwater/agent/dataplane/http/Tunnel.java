package io.tailwater.agent.dataplane.http;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelOption;
import io.netty.channel.socket.ChannelInputShutdownEvent;
import io.netty.channel.socket.DuplexChannel;
import io.netty.util.ReferenceCountUtil;
import io.netty.util.concurrent.ScheduledFuture;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/// After 101: bytes both ways as they come, a FIN as a FIN, a reset as a reset. A side is read only
/// while the other can take more. On the loop.
final class Tunnel {
  private final Side client;
  private final Side upstream;
  private final Duration idle;
  private final End end;
  private long toUpstream;
  private long toClient;
  private long lastMoved;
  private int openDirections = 2;
  private boolean over;
  private @Nullable ScheduledFuture<?> timer;

  /// Is told once, when both channels are closed or being closed.
  interface End {
    void over(long toUpstream, long toClient, boolean inOrder);
  }

  Tunnel(Channel client, Channel upstream, Duration idle, End end) {
    this.client = new Side(client, upstream, true);
    this.upstream = new Side(upstream, client, false);
    this.idle = idle;
    this.end = end;
    this.lastMoved = client.eventLoop().ticker().nanoTime();
  }

  Side client() {
    return client;
  }

  Side upstream() {
    return upstream;
  }

  /// Both sides are in their pipelines and have what was read ahead.
  void start() {
    planIdle(idle.toNanos());
    client.ask();
    upstream.ask();
  }

  /// The client's channel is closed.
  void clientGone() {
    end(client.done);
  }

  private void planIdle(long nanos) {
    timer = client.channel.eventLoop().schedule(this::checkIdle, nanos, TimeUnit.NANOSECONDS);
  }

  private void checkIdle() {
    long rest = client.channel.eventLoop().ticker().nanoTime() - lastMoved;
    if (rest >= idle.toNanos()) {
      end(false);
    } else {
      planIdle(idle.toNanos() - rest);
    }
  }

  private void end(boolean inOrder) {
    if (over) {
      return;
    }
    over = true;
    if (timer != null) {
      timer.cancel(false);
    }
    if (!inOrder) {
      resetOnClose(client.channel);
      resetOnClose(upstream.channel);
    }
    client.channel.close();
    upstream.channel.close();
    end.over(toUpstream, toClient, inOrder);
  }

  /// The channel will be closed by a reset instead of a FIN.
  static void resetOnClose(Channel channel) {
    if (channel.isOpen()) {
      try {
        channel.config().setOption(ChannelOption.SO_LINGER, 0);
      } catch (io.netty.channel.ChannelException _) {
        // the peer has reset it already: there is nobody to tell
      }
    }
  }

  /// One direction, the last handler of the channel that it reads.
  final class Side extends ChannelInboundHandlerAdapter {
    private final Channel channel;
    private final Channel other;
    private final boolean isClient;
    private boolean done;

    private Side(Channel channel, Channel other, boolean isClient) {
      this.channel = channel;
      this.other = other;
      this.isClient = isClient;
    }

    /// Bytes that were read ahead; owned.
    void take(ByteBuf bytes) {
      if (over || done) {
        bytes.release();
        return;
      }
      lastMoved = channel.eventLoop().ticker().nanoTime();
      int length = bytes.readableBytes();
      other
          .writeAndFlush(bytes)
          .addListener(written -> {
            if (!written.isSuccess()) {
              end(false);
            } else if (isClient) {
              toUpstream += length;
            } else {
              toClient += length;
            }
          });
    }

    private void ask() {
      if (!over && !done && other.isWritable()) {
        channel.read();
      }
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) {
      if (message instanceof ByteBuf bytes) {
        take(bytes);
      } else {
        ReferenceCountUtil.release(message);
      }
    }

    @Override
    public void channelReadComplete(ChannelHandlerContext ctx) {
      ask();
    }

    @Override
    public void channelWritabilityChanged(ChannelHandlerContext ctx) {
      Side opposite = isClient ? upstream : client;
      opposite.ask();
    }

    @Override
    public void userEventTriggered(ChannelHandlerContext ctx, Object event) {
      if (event instanceof ChannelInputShutdownEvent) {
        inputEnded();
      }
      ReferenceCountUtil.release(event);
    }

    /// FIN: passed on behind all bytes before it.
    void inputEnded() {
      if (done || over) {
        return;
      }
      done = true;
      other
          .writeAndFlush(Unpooled.EMPTY_BUFFER)
          .addListener(_ -> {
            if (other instanceof DuplexChannel duplex) {
              duplex.shutdownOutput().addListener(shut -> shut(shut.isSuccess()));
            } else {
              shut(true);
            }
          });
    }

    private void shut(boolean fine) {
      if (!fine) {
        end(false);
      } else if (--openDirections == 0) {
        end(true);
      }
    }

    @Override
    public void channelInactive(ChannelHandlerContext ctx) {
      // Where the transport tells of FIN by closing, everything else has been told before.
      end(done);
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable failure) {
      Failures.note(failure);
      end(false);
    }
  }
}
