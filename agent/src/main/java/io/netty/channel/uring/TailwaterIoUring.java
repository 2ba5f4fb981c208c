package io.netty.channel.uring;

import io.netty.channel.Channel;
import io.netty.channel.ChannelConfig;
import io.netty.channel.ServerChannel;
import io.netty.channel.socket.ServerSocketChannelConfig;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.SocketProtocolFamily;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.nio.ByteBuffer;

/// Makes io_uring sockets of a chosen family. Netty chooses the family once, from the namespace
/// that the process started in, and offers no constructor for it; pods may differ. It stands in
/// this package because the constructors are package-private.
public final class TailwaterIoUring {
  private TailwaterIoUring() {}

  /// A client socket, not connected yet, born in the namespace of the calling thread.
  public static SocketChannel socket(SocketProtocolFamily family) {
    boolean six = family == SocketProtocolFamily.INET6;
    if (six == io.netty.channel.unix.Socket.isIPv6Preferred()) {
      return new IoUringSocketChannel();
    }
    IoUringSocketChannel adopted = new IoUringSocketChannel(null, LinuxSocket.newSocketStream(six));
    adopted.active = false; // the constructor is meant for sockets that are connected already
    return adopted;
  }

  /// A listening socket, not bound yet, born in the namespace of the calling thread.
  public static ServerChannel listener(SocketProtocolFamily family) {
    boolean six = family == SocketProtocolFamily.INET6;
    return six == io.netty.channel.unix.Socket.isIPv6Preferred()
        ? new IoUringServerSocketChannel()
        : new Listener(LinuxSocket.newSocketStream(six));
  }

  /// Binds a client socket that is on no loop yet.
  public static void bind(SocketChannel channel, InetSocketAddress address) {
    try {
      ((IoUringSocketChannel) channel).socket.bind(address);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Makes a channel that waits for POLLOUT try to write again. On the channel's loop.
  public static void tryWritingAgain(IoUringSocketChannel channel) {
    if (channel.isRegistered()) {
      AbstractIoUringChannel.AbstractUringUnsafe unsafe =
          (AbstractIoUringChannel.AbstractUringUnsafe) channel.unsafe();
      unsafe.handle(
          channel.registration(),
          new IoUringIoEvent(Native.POLLOUT, 0, Native.IORING_OP_POLL_ADD, 0L));
    }
  }

  private static final class Listener extends AbstractIoUringServerChannel {
    private final IoUringServerSocketChannelConfig config =
        new IoUringServerSocketChannelConfig(this);

    Listener(LinuxSocket socket) {
      super(socket, false);
    }

    @Override
    public void doBind(SocketAddress address) throws Exception {
      super.doBind(address);
      socket.listen(((ServerSocketChannelConfig) config).getBacklog());
      active = true;
    }

    @Override
    Channel newChildChannel(int fd, ByteBuffer acceptedAddress) {
      return new IoUringSocketChannel(this, new LinuxSocket(fd));
    }

    @Override
    public ChannelConfig config() {
      return config;
    }
  }
}
