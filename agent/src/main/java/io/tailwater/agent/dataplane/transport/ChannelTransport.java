package io.tailwater.agent.dataplane.transport;

import io.netty.channel.Channel;
import io.netty.channel.ChannelOption;
import io.netty.channel.ServerChannel;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.unix.UnixChannelOption;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.StandardProtocolFamily;
import java.util.Optional;

/// A transport whose sockets are Netty's channels.
abstract class ChannelTransport implements Transport {
  /// A bare listening channel.
  abstract ServerChannel newListener(StandardProtocolFamily family);

  /// A bare channel to connect.
  abstract SocketChannel newSocket(StandardProtocolFamily family);

  /// What the peer of an accepted channel dialled before it was redirected.
  abstract Optional<OriginalDst> originalDst(SocketChannel accepted);

  /// Sets mark, keep-alive and, on listeners, the sharing of the port; NIO has none of it.
  void options(Channel socket, int mark, boolean listens) {
    UnixSocketOptions.mark(socket, mark);
    UnixSocketOptions.keepAlive(socket);
    if (listens) {
      socket.config().setOption(ChannelOption.SO_REUSEADDR, true);
      socket.config().setOption(UnixChannelOption.SO_REUSEPORT, true);
    }
  }

  @Override
  public final ListeningSocket listener(StandardProtocolFamily family, int mark) {
    return new ChannelListener(withOptions(newListener(family), mark, true), this::originalDst);
  }

  @Override
  public final StreamSocket socket(StandardProtocolFamily family, int mark) {
    return new ChannelSocket(withOptions(newSocket(family), mark, false));
  }

  private <C extends Channel> C withOptions(C channel, int mark, boolean listens) {
    boolean done = false;
    try {
      options(channel, mark, listens);
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
