package io.tailwater.agent.dataplane.transport;

import io.netty.channel.Channel;
import io.netty.channel.IoHandlerFactory;
import io.netty.channel.ServerChannel;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.util.Optional;
import java.util.function.Function;

/// NIO for tests: it has no mark, and the test says what was dialled.
public final class NioTransport implements Transport {
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
  public ServerChannel listener(StandardProtocolFamily family) {
    return new NioServerSocketChannel();
  }

  @Override
  public SocketChannel socket(StandardProtocolFamily family) {
    return new NioSocketChannel();
  }

  @Override
  public void mark(Channel socket, int mark) {
    // no such thing here
  }

  @Override
  public Optional<OriginalDst> originalDst(Channel accepted) {
    return dialled.apply((InetSocketAddress) accepted.remoteAddress());
  }

  @Override
  public boolean splices() {
    return false;
  }
}
