package io.tailwater.agent.dataplane.accept;

import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoop;
import io.netty.channel.ServerChannel;
import io.tailwater.agent.dataplane.transport.SocketPlace;
import io.tailwater.agent.dataplane.transport.Transport;
import io.tailwater.agent.traffic.ClientAddress;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The capture port of one pod: a listening socket per loop on the same port.
public final class InterceptListener implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(InterceptListener.class);

  /// Connections that wait for accept; the kernel caps it at net.core.somaxconn of the pod.
  private static final int BACKLOG = 1024;

  /// How long accepting rests when descriptors have run out; accepting at once would only fail
  /// again.
  private static final long REST_MILLIS = 250;

  private final List<Channel> sockets = new ArrayList<>();

  private InterceptListener() {}

  /// Takes over accepted connections, on the loop that the listener was opened with.
  public interface Intake {
    void accepted(Intercepted connection);
  }

  /// One loop and what takes its connections.
  public record Line(EventLoop loop, Intake intake) {}

  /// Opens the port in the pod. On the capture thread; blocks until the sockets listen.
  ///
  /// @throws ListenException when the port cannot be had; nothing stays open then
  public static InterceptListener open(
      SocketPlace place, Transport transport, int port, List<Line> lines) {
    InterceptListener listener = new InterceptListener();
    try {
      for (Line line : lines) {
        ServerChannel socket = place.listener();
        listener.sockets.add(socket);
        socket.config().setOption(ChannelOption.SO_BACKLOG, BACKLOG);
        socket.pipeline().addLast(new Acceptor(line, transport, port));
        line.loop().register(socket).syncUninterruptibly();
        String any = place.hasIpv6() ? "::" : "0.0.0.0";
        socket.bind(new InetSocketAddress(any, port)).syncUninterruptibly();
      }
    } catch (Exception e) {
      listener.close();
      throw new ListenException(
          "cannot listen on port " + port + " in the pod: " + e.getMessage(), e);
    }
    return listener;
  }

  /// Stops accepting. Blocks until the sockets are closed; connections live on.
  @Override
  public void close() {
    for (Channel socket : sockets) {
      if (socket.isRegistered()) {
        socket.close().syncUninterruptibly();
      } else {
        socket.unsafe().closeForcibly();
      }
    }
    sockets.clear();
  }

  private static final class Acceptor extends ChannelInboundHandlerAdapter {
    private final Line line;
    private final Transport transport;
    private final int port;

    Acceptor(Line line, Transport transport, int port) {
      this.line = line;
      this.transport = transport;
      this.port = port;
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) {
      Channel child = (Channel) message;
      try {
        accept(child);
      } catch (RuntimeException e) {
        child.unsafe().closeForcibly(); // it alone is lost; accepting goes on
        LOG.warn("an accepted connection on port {} could not be prepared", port, e);
      }
    }

    private void accept(Channel child) {
      child.config().setAutoRead(false);
      child.config().setOption(ChannelOption.ALLOW_HALF_CLOSURE, true);
      Optional<OriginalDst> redirected = transport.originalDst(child);
      if (!(child.remoteAddress() instanceof InetSocketAddress peer)) {
        child.unsafe().closeForcibly(); // reset before it was accepted
        return;
      }
      OriginalDst dst;
      boolean direct = false;
      if (redirected.isPresent() && redirected.get().port() != port) {
        dst = redirected.get();
      } else if (child.localAddress() instanceof InetSocketAddress local) {
        // Only what was dialled on our own port can have come here by itself.
        OriginalDst own = new OriginalDst(local.getAddress(), local.getPort());
        dst = redirected.orElse(own);
        direct = dst.equals(own) || isUnspecific(dst.address());
      } else {
        child.unsafe().closeForcibly(); // reset before it was accepted
        return;
      }
      Intercepted intercepted =
          new Intercepted(child, new ClientAddress(peer.getAddress(), peer.getPort()), dst, direct);
      line.loop()
          .register(child)
          .addListener(registered -> {
            if (registered.isSuccess()) {
              line.intake().accepted(intercepted);
            } else {
              child.unsafe().closeForcibly();
            }
          });
    }

    private static boolean isUnspecific(InetAddress address) {
      return address.isAnyLocalAddress() || address.isLoopbackAddress();
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable failure) {
      LOG.warn(
          "accept failed on port {}: {}; resting {} ms", port, failure.getMessage(), REST_MILLIS);
      ctx.channel().config().setAutoRead(false);
      ctx.executor()
          .schedule(
              () -> ctx.channel().config().setAutoRead(true), REST_MILLIS, TimeUnit.MILLISECONDS);
    }
  }

  /// The capture port cannot be had.
  public static final class ListenException extends RuntimeException {
    ListenException(String message, Throwable cause) {
      super(message, cause);
    }
  }
}
