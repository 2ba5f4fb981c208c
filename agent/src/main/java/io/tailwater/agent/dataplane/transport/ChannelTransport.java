package io.tailwater.agent.dataplane.transport;

import io.netty.channel.Channel;
import io.netty.channel.ServerChannel;
import io.netty.channel.socket.DatagramChannel;
import io.netty.channel.socket.SocketChannel;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.util.Optional;
import java.util.function.Consumer;

/// A transport whose sockets are Netty's channels.
abstract class ChannelTransport implements Transport {
  /// A bare listening channel.
  abstract ServerChannel newListener(StandardProtocolFamily family);

  /// A bare channel to connect.
  abstract SocketChannel newSocket(StandardProtocolFamily family);

  /// Binds a channel that is on no loop yet.
  abstract void bind(SocketChannel channel, InetSocketAddress address);

  /// A bare UDP channel.
  abstract DatagramChannel newUdp(StandardProtocolFamily family);

  /// What the peer of an accepted channel dialled before it was redirected.
  abstract Optional<OriginalDst> originalDst(SocketChannel accepted);

  /// Sets mark, keep-alive and, on listeners, the sharing of the port; NIO has none of it.
  void options(Channel socket, int mark, boolean listens) {
    UnixSocketOptions.mark(socket, mark);
    UnixSocketOptions.keepAlive(socket);
    if (listens) {
      UnixSocketOptions.shared(socket);
    }
  }

  /// Sets the mark and the sharing of the port; NIO has none of it.
  void udpOptions(Channel socket, int mark) {
    UnixSocketOptions.mark(socket, mark);
    UnixSocketOptions.sharedPort(socket);
  }

  @Override
  public final ListeningSocket listener(StandardProtocolFamily family, int mark) {
    return new ChannelListener(
        with(newListener(family), channel -> options(channel, mark, true)), this::originalDst);
  }

  @Override
  public final ListeningSocket transparentListener(StandardProtocolFamily family, int mark) {
    return new ChannelListener(
        with(
            newListener(family),
            channel -> {
              options(channel, mark, true);
              UnixSocketOptions.transparent(channel, family);
            }),
        _ -> Optional.empty());
  }

  @Override
  public final StreamSocket socketAt(InetAddress source, int mark) {
    StandardProtocolFamily family =
        source instanceof Inet4Address ? StandardProtocolFamily.INET : StandardProtocolFamily.INET6;
    return new ChannelSocket(
        with(
            newSocket(family),
            channel -> {
              options(channel, mark, false);
              UnixSocketOptions.transparent(channel, family);
              UnixSocketOptions.portAtConnect(channel);
              bind(channel, new InetSocketAddress(source, 0));
            }));
  }

  @Override
  public final StreamSocket socket(StandardProtocolFamily family, int mark) {
    return new ChannelSocket(with(newSocket(family), channel -> options(channel, mark, false)));
  }

  @Override
  public final UdpSocket udp(StandardProtocolFamily family, int mark) {
    return new ChannelUdpSocket(with(newUdp(family), channel -> udpOptions(channel, mark)));
  }

  private static <C extends Channel> C with(C channel, Consumer<C> options) {
    boolean done = false;
    try {
      options.accept(channel);
      done = true;
      return channel;
    } finally {
      if (!done) {
        channel.unsafe().closeForcibly(); // nobody else knows it yet
      }
    }
  }

  @Override
  public final boolean splices() {
    return false;
  }
}
