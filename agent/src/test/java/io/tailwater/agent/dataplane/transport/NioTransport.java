package io.tailwater.agent.dataplane.transport;

import io.netty.channel.Channel;
import io.netty.channel.IoHandlerFactory;
import io.netty.channel.ServerChannel;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.DatagramChannel;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.SocketProtocolFamily;
import io.netty.channel.socket.nio.NioDatagramChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.util.Optional;
import java.util.function.Function;

/// NIO for tests: it has no mark, and the test says what was dialled.
public final class NioTransport extends ChannelTransport {
  private final Function<InetSocketAddress, Optional<OriginalDst>> dialled;

  /// `dialled` tells by the client's address what it dialled.
  public NioTransport(Function<InetSocketAddress, Optional<OriginalDst>> dialled) {
    this.dialled = dialled;
  }

  @Override
  public String name() {
    return "nio";
  }

  @Override
  public IoHandlerFactory ioHandlers() {
    return NioIoHandler.newFactory();
  }

  @Override
  ServerChannel newListener(StandardProtocolFamily family) {
    return new NioServerSocketChannel();
  }

  @Override
  SocketChannel newSocket(StandardProtocolFamily family) {
    return new NioSocketChannel();
  }

  @Override
  void bind(SocketChannel channel, InetSocketAddress address) {
    throw new UnsupportedOperationException("NIO has no transparent sockets");
  }

  @Override
  DatagramChannel newUdp(StandardProtocolFamily family) {
    return new NioDatagramChannel(
        family == StandardProtocolFamily.INET6
            ? SocketProtocolFamily.INET6
            : SocketProtocolFamily.INET);
  }

  @Override
  Optional<OriginalDst> originalDst(SocketChannel accepted) {
    return dialled.apply(accepted.remoteAddress());
  }

  @Override
  void udpOptions(Channel socket, int mark) {
    // nor here
  }

  @Override
  void options(Channel socket, int mark, boolean listens) {
    // no such thing here
  }
}
