package io.tailwater.agent.dataplane.transport;

import io.netty.channel.Channel;
import io.netty.channel.IoHandlerFactory;
import io.netty.channel.ServerChannel;
import io.netty.channel.epoll.EpollServerSocketChannel;
import io.netty.channel.epoll.EpollSocketChannel;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.SocketProtocolFamily;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.StandardProtocolFamily;
import java.util.Optional;

/// epoll: works everywhere, and the only one whose sockets can be spliced.
public final class EpollTransport implements Transport {
  @Override
  public String name() {
    return "epoll";
  }

  @Override
  public IoHandlerFactory ioHandlers() {
    return RearmingEpoll.factory();
  }

  @Override
  public ServerChannel listener(StandardProtocolFamily family) {
    return UnixSocketOptions.keepAlive(new EpollServerSocketChannel(netty(family)));
  }

  @Override
  public SocketChannel socket(StandardProtocolFamily family) {
    return new EpollSocketChannel(netty(family));
  }

  static SocketProtocolFamily netty(StandardProtocolFamily family) {
    return family == StandardProtocolFamily.INET6
        ? SocketProtocolFamily.INET6
        : SocketProtocolFamily.INET;
  }

  @Override
  public void mark(Channel socket, int mark) {
    UnixSocketOptions.mark(socket, mark);
  }

  @Override
  public Optional<OriginalDst> originalDst(Channel accepted) {
    return UnixSocketOptions.originalDst(accepted);
  }

  @Override
  public boolean splices() {
    return true;
  }
}
