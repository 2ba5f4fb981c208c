package io.tailwater.agent.dataplane.transport;

import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoop;
import io.netty.channel.ServerChannel;
import io.netty.channel.socket.SocketChannel;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.InetSocketAddress;
import java.util.Optional;
import java.util.function.Function;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// A listening Netty channel, whose connections are [ChannelSocket]s.
final class ChannelListener implements ListeningSocket {
  private static final Logger LOG = LoggerFactory.getLogger(ChannelListener.class);

  private final ServerChannel listener;
  private final Function<SocketChannel, Optional<OriginalDst>> originalDst;

  ChannelListener(
      ServerChannel listener, Function<SocketChannel, Optional<OriginalDst>> originalDst) {
    this.listener = listener;
    this.originalDst = originalDst;
  }

  @Override
  public void open(EventLoop loop, InetSocketAddress address, int backlog, Intake intake) {
    listener.config().setOption(ChannelOption.SO_BACKLOG, backlog);
    listener.pipeline().addLast(new Acceptor(loop, intake));
    loop.register(listener).syncUninterruptibly();
    listener.bind(address).syncUninterruptibly();
  }

  @Override
  public void pause() {
    listener.config().setAutoRead(false);
  }

  @Override
  public void resume() {
    listener.config().setAutoRead(true);
  }

  @Override
  public void close() {
    if (listener.isRegistered()) {
      listener.close().syncUninterruptibly();
    } else {
      listener.unsafe().closeForcibly();
    }
  }

  private final class Acceptor extends ChannelInboundHandlerAdapter {
    private final EventLoop loop;
    private final Intake intake;

    Acceptor(EventLoop loop, Intake intake) {
      this.loop = loop;
      this.intake = intake;
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) {
      SocketChannel child = (SocketChannel) message;
      try {
        accept(child);
      } catch (RuntimeException e) {
        child.unsafe().closeForcibly(); // it alone is lost; accepting goes on
        LOG.warn("an accepted connection could not be prepared", e);
      }
    }

    private void accept(SocketChannel child) {
      ChannelSocket socket = new ChannelSocket(child);
      Optional<OriginalDst> redirected = originalDst.apply(child);
      InetSocketAddress peer = child.remoteAddress();
      if (peer == null) {
        child.unsafe().closeForcibly(); // reset before it was accepted
        return;
      }
      loop.register(child)
          .addListener(registered -> {
            if (registered.isSuccess()) {
              intake.accepted(socket, peer, redirected);
            } else {
              child.unsafe().closeForcibly();
            }
          });
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable failure) {
      intake.failed(failure);
    }
  }
}
