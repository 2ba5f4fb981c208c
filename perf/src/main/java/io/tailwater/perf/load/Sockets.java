package io.tailwater.perf.load;

import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/// IPv4 TCP sockets as bare descriptors. The benchmark's network is IPv4 only. One thread.
final class Sockets {
  private static final int SOCKADDR_IN = 16;
  private static final int INT = 4;

  private final ByteBuffer on =
      ByteBuffer.allocateDirect(INT).order(ByteOrder.nativeOrder()).putInt(0, 1);
  private final ByteBuffer out = ByteBuffer.allocateDirect(2 * INT).order(ByteOrder.nativeOrder());
  private final long onAddress = Sys.address(on);
  private final long outAddress = Sys.address(out);

  /// A `struct sockaddr_in` for an address literal; no name is ever looked up.
  ///
  /// @throws IllegalArgumentException if `host` is no IPv4 literal
  static ByteBuffer sockaddr(String host, int port) {
    if (!host.matches("[0-9.]+")) {
      throw new IllegalArgumentException("an IPv4 address literal is needed, not '" + host + "'");
    }
    InetAddress address;
    try {
      address = new InetSocketAddress(InetAddress.getByName(host), port).getAddress();
    } catch (UnknownHostException e) {
      throw new IllegalArgumentException("not an IPv4 address: '" + host + "'", e);
    }
    if (!(address instanceof Inet4Address)) {
      throw new IllegalArgumentException("not an IPv4 address: '" + host + "'");
    }
    ByteBuffer bytes = ByteBuffer.allocateDirect(SOCKADDR_IN).order(ByteOrder.nativeOrder());
    bytes.putShort((short) Sys.AF_INET);
    bytes.order(ByteOrder.BIG_ENDIAN).putShort((short) port).put(address.getAddress());
    return bytes;
  }

  int listen(String host, int port) {
    int fd = Sys.check(Sys.C.socket(Sys.AF_INET, Sys.SOCK_STREAM | Sys.SOCK_NONBLOCK, 0), "socket");
    Sys.check(
        Sys.C.setsockopt(fd, Sys.SOL_SOCKET, Sys.SO_REUSEADDR, onAddress, INT), "SO_REUSEADDR");
    // Several servers share a port: one process has descriptors for 20,000 connections only.
    Sys.check(
        Sys.C.setsockopt(fd, Sys.SOL_SOCKET, Sys.SO_REUSEPORT, onAddress, INT), "SO_REUSEPORT");
    ByteBuffer address = sockaddr(host, port);
    Sys.check(Sys.C.bind(fd, Sys.address(address), SOCKADDR_IN), "bind " + host + ":" + port);
    Sys.check(Sys.C.listen(fd, 4096), "listen");
    return fd;
  }

  /// A connected descriptor, or a negative number when none is waiting.
  int accept(int listener) {
    return Sys.C.accept4(listener, 0, 0, Sys.SOCK_NONBLOCK);
  }

  /// Starts to connect; the outcome shows as readiness and in {@link #error(int)}.
  int connect(long sockaddr) {
    int fd = Sys.check(Sys.C.socket(Sys.AF_INET, Sys.SOCK_STREAM | Sys.SOCK_NONBLOCK, 0), "socket");
    if (Sys.C.connect(fd, sockaddr, SOCKADDR_IN) < 0 && Sys.errno() != Sys.EINPROGRESS) {
      String reason = Sys.reason();
      Sys.C.close(fd);
      throw new IllegalStateException("connect: " + reason);
    }
    return fd;
  }

  void noDelay(int fd) {
    Sys.C.setsockopt(fd, Sys.IPPROTO_TCP, Sys.TCP_NODELAY, onAddress, INT);
  }

  /// The pending error of a socket (SO_ERROR), 0 if there is none.
  int error(int fd) {
    out.putInt(0, 0).putInt(INT, INT);
    Sys.C.getsockopt(fd, Sys.SOL_SOCKET, Sys.SO_ERROR, outAddress, outAddress + INT);
    return out.getInt(0);
  }
}
