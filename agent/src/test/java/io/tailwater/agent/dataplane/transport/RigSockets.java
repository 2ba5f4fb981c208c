package io.tailwater.agent.dataplane.transport;

import io.netty.buffer.ByteBufAllocator;
import io.netty.channel.ChannelOption;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.unix.Socket;
import java.io.IOException;
import java.net.StandardProtocolFamily;

/// Sockets as a transport makes them, with a test's allocator and kernel buffers.
public final class RigSockets {
  private RigSockets() {}

  /// With `bufferSize` above 0, the kernel's buffers get that size.
  public static StreamSocket of(Transport transport, ByteBufAllocator buffers, int bufferSize)
      throws IOException {
    if (transport instanceof ChannelTransport channels) {
      SocketChannel channel = channels.newSocket(StandardProtocolFamily.INET);
      channel.config().setAllocator(buffers);
      if (bufferSize > 0) {
        channel.config().setOption(ChannelOption.SO_RCVBUF, bufferSize);
        channel.config().setOption(ChannelOption.SO_SNDBUF, bufferSize);
      }
      return new ChannelSocket(channel);
    }
    EpollSocket made = (EpollSocket) transport.socket(StandardProtocolFamily.INET, 0);
    Socket socket = (Socket) made.fd();
    if (bufferSize > 0) {
      socket.setReceiveBufferSize(bufferSize);
      socket.setSendBufferSize(bufferSize);
    }
    return new EpollSocket(socket, buffers);
  }
}
