package io.tailwater.agent.dataplane.transport;

import io.netty.channel.Channel;
import io.netty.channel.ChannelException;
import io.netty.channel.unix.IntegerUnixChannelOption;
import io.netty.channel.unix.RawUnixChannelOption;
import io.netty.channel.unix.Socket;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.iptables.libc.Syscalls;
import java.io.IOException;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/// Socket options that Netty does not name.
final class UnixSocketOptions {
  static final int SOL_IP = 0;
  static final int SOL_SOCKET = 1;
  static final int SOL_IPV6 = 41;

  /// `SO_ORIGINAL_DST` with SOL_IP: `struct sockaddr_in {u16 family; be16 port; u8 addr[4]; u8
  /// zero[8]}`; `IP6T_SO_ORIGINAL_DST` with SOL_IPV6: `struct sockaddr_in6 {u16 family; be16 port;
  /// be32 flow; u8 addr[16]; u32 scope}`.
  static final int ORIGINAL_DST = 80;

  static final int SO_MARK = 36;

  /// With SOL_IP, also for IPv6: bind(2) takes the address, and connect(2) the port.
  static final int IP_BIND_ADDRESS_NO_PORT = 24;

  static final int IPPROTO_TCP = 6;
  static final int TCP_KEEPIDLE = 4;
  static final int TCP_KEEPINTVL = 5;
  static final int TCP_KEEPCNT = 6;
  private static final int SO_KEEPALIVE = 9;

  private static final IntegerUnixChannelOption MARK =
      new IntegerUnixChannelOption("SO_MARK", SOL_SOCKET, SO_MARK);
  private static final RawUnixChannelOption DIALLED =
      new RawUnixChannelOption("SO_ORIGINAL_DST", SOL_IP, ORIGINAL_DST, 16);
  private static final RawUnixChannelOption DIALLED6 =
      new RawUnixChannelOption("IP6T_SO_ORIGINAL_DST", SOL_IPV6, ORIGINAL_DST, 28);

  /// Netty knows it for connected sockets only.
  private static final IntegerUnixChannelOption KEEPALIVE =
      new IntegerUnixChannelOption("SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE);

  private static final IntegerUnixChannelOption TRANSPARENT =
      new IntegerUnixChannelOption("IP_TRANSPARENT", SOL_IP, Syscalls.IP_TRANSPARENT);
  private static final IntegerUnixChannelOption TRANSPARENT6 =
      new IntegerUnixChannelOption("IPV6_TRANSPARENT", SOL_IPV6, Syscalls.IPV6_TRANSPARENT);
  private static final IntegerUnixChannelOption NO_PORT =
      new IntegerUnixChannelOption("IP_BIND_ADDRESS_NO_PORT", SOL_IP, IP_BIND_ADDRESS_NO_PORT);

  /// Netty knows these for listeners of its own class only, and not for those of a chosen family.
  private static final IntegerUnixChannelOption REUSE_ADDRESS =
      new IntegerUnixChannelOption("SO_REUSEADDR", SOL_SOCKET, Syscalls.SO_REUSEADDR);

  private static final IntegerUnixChannelOption REUSE_PORT =
      new IntegerUnixChannelOption("SO_REUSEPORT", SOL_SOCKET, Syscalls.SO_REUSEPORT);

  private UnixSocketOptions() {}

  static void shared(Channel listener) {
    listener.config().setOption(REUSE_ADDRESS, 1);
    sharedPort(listener);
  }

  /// Lets the agent that takes over have the port while this one still has it.
  static void sharedPort(Channel socket) {
    socket.config().setOption(REUSE_PORT, 1);
  }

  static void transparent(Channel socket, StandardProtocolFamily family) {
    socket
        .config()
        .setOption(family == StandardProtocolFamily.INET6 ? TRANSPARENT6 : TRANSPARENT, 1);
  }

  static void portAtConnect(Channel socket) {
    socket.config().setOption(NO_PORT, 1);
  }

  static void keepAlive(Channel socket) {
    socket.config().setOption(KEEPALIVE, 1);
  }

  /// Sets what is not 0.
  static void keepAlive(Channel socket, int idleSeconds, int intervalSeconds, int probes) {
    set(socket, "TCP_KEEPIDLE", TCP_KEEPIDLE, idleSeconds);
    set(socket, "TCP_KEEPINTVL", TCP_KEEPINTVL, intervalSeconds);
    set(socket, "TCP_KEEPCNT", TCP_KEEPCNT, probes);
  }

  private static void set(Channel socket, String name, int option, int value) {
    if (value > 0) {
      socket.config().setOption(new IntegerUnixChannelOption(name, IPPROTO_TCP, option), value);
    }
  }

  static void mark(Channel socket, int mark) {
    socket.config().setOption(MARK, mark);
  }

  static Optional<OriginalDst> originalDst(Channel accepted) {
    boolean four =
        accepted.remoteAddress() instanceof InetSocketAddress peer
            && peer.getAddress() instanceof Inet4Address;
    try {
      return Optional.of(originalDst(accepted.config().getOption(four ? DIALLED : DIALLED6), four));
    } catch (ChannelException _) {
      return Optional.empty(); // ENOENT: conntrack knows no redirection for this connection
    }
  }

  /// Reads what the kernel answered.
  static OriginalDst originalDst(ByteBuffer answer, boolean four) {
    int port = answer.order(ByteOrder.BIG_ENDIAN).getShort(2) & 0xffff;
    byte[] address = new byte[four ? 4 : 16];
    answer.get(four ? 4 : 8, address);
    try {
      return new OriginalDst(InetAddress.getByAddress(address), port);
    } catch (UnknownHostException e) {
      throw new IllegalStateException("4 or 16 bytes are an address", e);
    }
  }

  /// connect(2) of a bound UDP descriptor to its own address.
  static void connectToItself(Socket udp) throws IOException {
    InetSocketAddress own = udp.localAddress();
    if (own == null || !udp.connect(own)) {
      throw new IOException("connect() to " + own);
    }
  }
}
