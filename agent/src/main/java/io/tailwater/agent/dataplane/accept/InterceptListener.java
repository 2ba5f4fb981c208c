package io.tailwater.agent.dataplane.accept;

import io.netty.channel.EventLoop;
import io.tailwater.agent.dataplane.transport.ListeningPlace;
import io.tailwater.agent.dataplane.transport.ListeningSocket;
import io.tailwater.agent.dataplane.transport.StreamSocket;
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

/// The capture port of one pod, or of all pods of the node: a listening socket per loop and address
/// on the same port.
public final class InterceptListener implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(InterceptListener.class);

  /// Connections that wait for accept; the kernel caps it at net.core.somaxconn of the pod.
  private static final int BACKLOG = 1024;

  /// How long accepting rests when descriptors have run out; accepting at once would only fail
  /// again.
  private static final long REST_MILLIS = 250;

  private final List<ListeningSocket> sockets = new ArrayList<>();

  private InterceptListener() {}

  /// Takes over accepted connections, on the loop that the listener was opened with.
  public interface Intake {
    void accepted(Intercepted connection);
  }

  /// One loop and what takes its connections.
  public record Line(EventLoop loop, Intake intake) {}

  /// Opens the port. On the capture thread; blocks until the sockets listen.
  ///
  /// @throws ListenException when the port cannot be had; nothing stays open then
  public static InterceptListener open(ListeningPlace place, int port, List<Line> lines) {
    InterceptListener listener = new InterceptListener();
    try {
      for (Line line : lines) {
        for (InetAddress address : place.addresses()) {
          ListeningSocket socket = place.listener(address);
          listener.sockets.add(socket);
          socket.open(
              line.loop(),
              new InetSocketAddress(address, port),
              BACKLOG,
              new Acceptor(socket, line, port, place.isTransparent()));
        }
      }
    } catch (Exception e) {
      listener.close();
      throw new ListenException(
          "cannot listen on port "
              + port
              + (place.isTransparent() ? " of the node: " : " in the pod: ")
              + e.getMessage(),
          e);
    }
    return listener;
  }

  /// Stops accepting. Blocks until the sockets are closed; connections live on.
  @Override
  public void close() {
    sockets.forEach(ListeningSocket::close);
    sockets.clear();
  }

  private static final class Acceptor implements ListeningSocket.Intake {
    private final ListeningSocket listener;
    private final Line line;
    private final int port;
    private final boolean transparent;

    Acceptor(ListeningSocket listener, Line line, int port, boolean transparent) {
      this.listener = listener;
      this.line = line;
      this.port = port;
      this.transparent = transparent;
    }

    @Override
    public void accepted(
        StreamSocket socket, InetSocketAddress peer, Optional<OriginalDst> redirected) {
      OriginalDst dst;
      boolean direct = false;
      if (redirected.isPresent() && redirected.get().port() != port) {
        dst = redirected.get();
      } else {
        // Only what was dialled on our own port can have come here by itself.
        InetSocketAddress local = socket.localAddress();
        if (local == null) {
          socket.close(); // reset before it was accepted
          return;
        }
        OriginalDst own = new OriginalDst(local.getAddress(), local.getPort());
        dst = redirected.orElse(own);
        // TPROXY brings no packet to the address where the listener itself is.
        direct = (!transparent && dst.equals(own)) || isUnspecific(dst.address());
      }
      line.intake()
          .accepted(
              new Intercepted(
                  socket, new ClientAddress(peer.getAddress(), peer.getPort()), dst, direct));
    }

    private static boolean isUnspecific(InetAddress address) {
      return address.isAnyLocalAddress() || address.isLoopbackAddress();
    }

    @Override
    public void failed(Throwable why) {
      LOG.warn("accept failed on port {}: {}; resting {} ms", port, why.getMessage(), REST_MILLIS);
      listener.pause();
      line.loop().schedule(listener::resume, REST_MILLIS, TimeUnit.MILLISECONDS);
    }
  }

  /// The capture port cannot be had.
  public static final class ListenException extends RuntimeException {
    ListenException(String message, Throwable cause) {
      super(message, cause);
    }
  }
}
