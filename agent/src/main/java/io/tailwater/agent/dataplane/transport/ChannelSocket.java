package io.tailwater.agent.dataplane.transport;

import io.netty.buffer.ByteBuf;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoop;
import io.netty.channel.socket.ChannelInputShutdownEvent;
import io.netty.channel.socket.ChannelInputShutdownReadComplete;
import io.netty.channel.socket.SocketChannel;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// A connection over a Netty channel: io_uring, and NIO in tests.
final class ChannelSocket extends ChannelInboundHandlerAdapter implements StreamSocket {
  private final SocketChannel channel;
  private @Nullable Reader reader;
  private @Nullable ByteBuf came;
  private boolean asked;
  private boolean inputRead;
  private boolean handedOn;

  ChannelSocket(SocketChannel channel) {
    this.channel = channel;
    channel.config().setAutoRead(false);
    channel.config().setOption(ChannelOption.ALLOW_HALF_CLOSURE, true);
    channel.pipeline().addLast(this);
  }

  @Override
  public EventLoop loop() {
    return channel.eventLoop();
  }

  @Override
  public void reader(@Nullable Reader next) {
    reader = next;
    asked = false;
  }

  @Override
  public void read() {
    asked = true;
    channel.read();
  }

  @Override
  public void channelRead(ChannelHandlerContext ctx, Object message) {
    ByteBuf bytes = (ByteBuf) message;
    ByteBuf before = came;
    if (before == null) {
      came = bytes;
      return;
    }
    ByteBuf both = ctx.alloc().directBuffer(before.readableBytes() + bytes.readableBytes());
    came = both.writeBytes(before).writeBytes(bytes);
    before.release();
    bytes.release();
  }

  @Override
  public void channelReadComplete(ChannelHandlerContext ctx) {
    deliver();
  }

  private void deliver() {
    ByteBuf bytes = came;
    came = null;
    asked = bytes == null && asked;
    if (bytes == null) {
      return;
    }
    if (reader == null) {
      bytes.release();
    } else {
      reader.bytes(bytes);
    }
  }

  @Override
  public void userEventTriggered(ChannelHandlerContext ctx, Object event) {
    if (event instanceof ChannelInputShutdownEvent) {
      if (asked) {
        channel.read(); // what is still in the socket comes first
      }
    } else if (event instanceof ChannelInputShutdownReadComplete) {
      deliver();
      inputRead = true;
      if (reader != null) {
        reader.inputEnded();
      }
    }
  }

  @Override
  public void channelInactive(ChannelHandlerContext ctx) {
    lost(new IOException("Connection reset by peer"));
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext ctx, Throwable failure) {
    lost(failure);
  }

  private void lost(Throwable why) {
    Reader told = reader;
    reader = null;
    channel.close();
    if (told != null) {
      told.lost(why);
    }
  }

  @Override
  public boolean inputRead() {
    return inputRead;
  }

  @Override
  public void connect(EventLoop loop, InetSocketAddress to, Consumer<@Nullable Throwable> then) {
    channel.config().setConnectTimeoutMillis(0); // whoever dials has a clock of his own
    loop.register(channel)
        .addListener(registered -> {
          if (registered.isSuccess()) {
            channel.connect(to).addListener(done -> then.accept(done.cause()));
          } else {
            close();
            then.accept(registered.cause());
          }
        });
  }

  @Override
  public void keepAlive(int idleSeconds, int intervalSeconds, int probes) {
    try {
      UnixSocketOptions.keepAlive(channel, idleSeconds, intervalSeconds, probes);
    } catch (io.netty.channel.ChannelException _) {
      // the connection is lost; whoever reads it is told
    }
  }

  @Override
  public @Nullable InetSocketAddress localAddress() {
    return channel.localAddress();
  }

  @Override
  public boolean isOpen() {
    return channel.isOpen();
  }

  @Override
  public void close() {
    release();
    if (channel.isRegistered()) {
      channel.close();
    } else {
      channel.unsafe().closeForcibly();
    }
  }

  private void release() {
    if (!handedOn) {
      reader = null;
    }
    if (came != null) {
      came.release();
      came = null;
    }
  }

  @Override
  public void reset() {
    if (channel.isOpen()) {
      try {
        channel.config().setOption(ChannelOption.SO_LINGER, 0);
      } catch (io.netty.channel.ChannelException _) {
        // the peer has reset it already: there is nobody to tell
      }
    }
    close();
  }

  @Override
  public void channel(Consumer<Channel> then) {
    if (!handedOn) {
      handedOn = true;
      reader = null;
      if (channel.isRegistered()) {
        channel.pipeline().remove(this);
      }
    }
    then.accept(channel);
  }
}
