package io.tailwater.agent.dataplane.transport;

import io.netty.channel.IoHandlerFactory;
import io.netty.channel.ServerChannel;
import io.netty.channel.socket.DatagramChannel;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.SocketProtocolFamily;
import io.netty.channel.uring.IoUring;
import io.netty.channel.uring.IoUringDatagramChannel;
import io.netty.channel.uring.IoUringIoHandler;
import io.netty.channel.uring.TailwaterIoUring;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.util.Optional;

/// io_uring: copies only. Many container platforms forbid it, so it is used where it is asked for.
public final class IoUringTransport extends ChannelTransport {
  private static final String POLL_MULTISHOT = "io.netty.iouring.pollAddMultishotEnabled";

  static {
    // Before Netty's classes are initialised. With multishot polls Netty 4.2.18 can wait for ever
    // for
    // a FIN: POLLRDHUP makes it read by itself, up to the FIN and no further; the poll has told of
    // the FIN by then and, being edge-triggered, never tells again. One-shot polls look anew.
    if (System.getProperty(POLL_MULTISHOT) == null) {
      System.setProperty(POLL_MULTISHOT, "false");
    }
  }

  /// Whether kernel and platform allow it; otherwise why not.
  public static Optional<String> unavailable() {
    if (IoUring.isAvailable()) {
      return Optional.empty();
    }
    Throwable why = IoUring.unavailabilityCause();
    Throwable root = why;
    while (root != null && root.getCause() != null) {
      root = root.getCause();
    }
    return Optional.of(root == null ? "unknown cause" : String.valueOf(root.getMessage()));
  }

  @Override
  public String name() {
    return "io_uring";
  }

  @Override
  public IoHandlerFactory ioHandlers() {
    return IoUringIoHandler.newFactory();
  }

  @Override
  ServerChannel newListener(StandardProtocolFamily family) {
    return TailwaterIoUring.listener(netty(family));
  }

  @Override
  SocketChannel newSocket(StandardProtocolFamily family) {
    return TailwaterIoUring.socket(netty(family));
  }

  @Override
  void bind(SocketChannel channel, InetSocketAddress address) {
    TailwaterIoUring.bind(channel, address);
  }

  @Override
  DatagramChannel newUdp(StandardProtocolFamily family) {
    return new IoUringDatagramChannel(netty(family));
  }

  @Override
  Optional<OriginalDst> originalDst(SocketChannel accepted) {
    return UnixSocketOptions.originalDst(accepted);
  }

  private static SocketProtocolFamily netty(StandardProtocolFamily family) {
    return family == StandardProtocolFamily.INET6
        ? SocketProtocolFamily.INET6
        : SocketProtocolFamily.INET;
  }
}
