package io.tailwater.agent.dataplane.transport;

import io.netty.channel.IoHandlerFactory;
import io.netty.channel.unix.Socket;
import io.tailwater.iptables.libc.Syscalls;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;

/// epoll: works everywhere, and the only one whose sockets can be spliced.
public final class EpollTransport implements Transport {
  private static final int OURS = Syscalls.SOCK_NONBLOCK | Syscalls.SOCK_CLOEXEC;

  @Override
  public String name() {
    return "epoll";
  }

  @Override
  public IoHandlerFactory ioHandlers() {
    return RearmingEpoll.factory();
  }

  private interface Options {
    void set(Socket socket) throws IOException;
  }

  @Override
  public ListeningSocket listener(StandardProtocolFamily family, int mark) {
    return new EpollListener(
        make(
            family,
            Syscalls.SOCK_STREAM,
            mark,
            socket -> {
              stream(socket);
              shared(socket);
              if (family == StandardProtocolFamily.INET6) {
                socket.setIntOpt(Syscalls.IPPROTO_IPV6, Syscalls.IPV6_V6ONLY, 0);
              }
            }),
        true);
  }

  @Override
  public ListeningSocket transparentListener(StandardProtocolFamily family, int mark) {
    return new EpollListener(
        make(
            family,
            Syscalls.SOCK_STREAM,
            mark,
            socket -> {
              stream(socket);
              shared(socket);
              transparent(socket, family);
            }),
        false);
  }

  @Override
  public StreamSocket socketAt(InetAddress source, int mark) {
    StandardProtocolFamily family =
        source instanceof Inet4Address ? StandardProtocolFamily.INET : StandardProtocolFamily.INET6;
    return new EpollSocket(
        make(
            family,
            Syscalls.SOCK_STREAM,
            mark,
            socket -> {
              stream(socket);
              transparent(socket, family);
              socket.setIntOpt(
                  UnixSocketOptions.SOL_IP, UnixSocketOptions.IP_BIND_ADDRESS_NO_PORT, 1);
              socket.bind(new InetSocketAddress(source, 0));
            }));
  }

  private static void shared(Socket socket) throws IOException {
    socket.setReuseAddress(true);
    socket.setReusePort(true);
  }

  private static void transparent(Socket socket, StandardProtocolFamily family) throws IOException {
    if (family == StandardProtocolFamily.INET6) {
      socket.setIntOpt(Syscalls.IPPROTO_IPV6, Syscalls.IPV6_TRANSPARENT, 1);
    } else {
      socket.setIntOpt(Syscalls.IPPROTO_IP, Syscalls.IP_TRANSPARENT, 1);
    }
  }

  @Override
  public StreamSocket socket(StandardProtocolFamily family, int mark) {
    return new EpollSocket(make(family, Syscalls.SOCK_STREAM, mark, EpollTransport::stream));
  }

  @Override
  public UdpSocket udp(StandardProtocolFamily family, int mark) {
    return new EpollUdpSocket(
        make(family, Syscalls.SOCK_DGRAM, mark, socket -> socket.setReusePort(true)));
  }

  /// Without TCP_NODELAY the second of two small writes would wait for the acknowledgement of the
  /// first; accepted sockets inherit it.
  private static void stream(Socket socket) throws IOException {
    socket.setTcpNoDelay(true);
    socket.setKeepAlive(true);
  }

  private static Socket make(StandardProtocolFamily family, int type, int mark, Options more) {
    int domain = family == StandardProtocolFamily.INET6 ? Syscalls.AF_INET6 : Syscalls.AF_INET;
    int descriptor = Syscalls.socket(domain, type | OURS, 0);
    boolean done = false;
    try {
      Socket socket = new Socket(descriptor);
      if (mark != 0) {
        socket.setIntOpt(UnixSocketOptions.SOL_SOCKET, UnixSocketOptions.SO_MARK, mark);
      }
      more.set(socket);
      done = true;
      return socket;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } finally {
      if (!done) {
        Syscalls.close(descriptor); // nobody else knows it yet
      }
    }
  }

  @Override
  public boolean splices() {
    return true;
  }
}
