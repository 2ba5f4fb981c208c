package io.tailwater.agent.dataplane.transport;

import io.netty.channel.IoHandlerFactory;
import io.netty.channel.unix.Socket;
import io.tailwater.iptables.libc.Syscalls;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;

/// epoll: works everywhere, and the only one whose sockets can be spliced.
public final class EpollTransport implements Transport {
  private static final int STREAM =
      Syscalls.SOCK_STREAM | Syscalls.SOCK_NONBLOCK | Syscalls.SOCK_CLOEXEC;

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
            mark,
            socket -> {
              socket.setReuseAddress(true);
              socket.setReusePort(true);
              if (family == StandardProtocolFamily.INET6) {
                socket.setIntOpt(Syscalls.IPPROTO_IPV6, Syscalls.IPV6_V6ONLY, 0);
              }
            }));
  }

  @Override
  public StreamSocket socket(StandardProtocolFamily family, int mark) {
    return new EpollSocket(make(family, mark, _ -> {}));
  }

  /// Without TCP_NODELAY the second of two small writes would wait for the acknowledgement of the
  /// first; accepted sockets inherit it.
  private static Socket make(StandardProtocolFamily family, int mark, Options more) {
    int domain = family == StandardProtocolFamily.INET6 ? Syscalls.AF_INET6 : Syscalls.AF_INET;
    int descriptor = Syscalls.socket(domain, STREAM, 0);
    boolean done = false;
    try {
      Socket socket = new Socket(descriptor);
      socket.setTcpNoDelay(true);
      socket.setKeepAlive(true);
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
