package io.tailwater.agent.dataplane.transport;

import io.netty.channel.Channel;
import io.netty.channel.ChannelException;
import io.netty.channel.unix.IntegerUnixChannelOption;
import io.netty.channel.unix.RawUnixChannelOption;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/// Socket options that Netty does not name, the same on epoll and io_uring.
final class UnixSocketOptions {
  /// SOL_SOCKET 1, SO_MARK 36.
  private static final IntegerUnixChannelOption SO_MARK =
      new IntegerUnixChannelOption("SO_MARK", 1, 36);

  /// SOL_IP 0, SO_ORIGINAL_DST 80: `struct sockaddr_in {u16 family; be16 port; u8 addr[4]; u8
  /// zero[8]}`.
  private static final RawUnixChannelOption ORIGINAL_DST =
      new RawUnixChannelOption("SO_ORIGINAL_DST", 0, 80, 16);

  /// SOL_IPV6 41, IP6T_SO_ORIGINAL_DST 80: `struct sockaddr_in6 {u16 family; be16 port; be32 flow;
  /// u8 addr[16]; u32 scope}`.
  private static final RawUnixChannelOption ORIGINAL_DST6 =
      new RawUnixChannelOption("IP6T_SO_ORIGINAL_DST", 41, 80, 28);

  /// SOL_SOCKET 1, SO_KEEPALIVE 9: Netty knows it for connected sockets only.
  private static final IntegerUnixChannelOption SO_KEEPALIVE =
      new IntegerUnixChannelOption("SO_KEEPALIVE", 1, 9);

  private UnixSocketOptions() {}

  /// Accepted sockets inherit it (tcp(7)), so that it costs nothing for each of them.
  static <C extends Channel> C keepAlive(C listener) {
    listener.config().setOption(SO_KEEPALIVE, 1);
    return listener;
  }

  static void mark(Channel socket, int mark) {
    socket.config().setOption(SO_MARK, mark);
  }

  static Optional<OriginalDst> originalDst(Channel accepted) {
    boolean four =
        accepted.remoteAddress() instanceof InetSocketAddress peer
            && peer.getAddress() instanceof Inet4Address;
    ByteBuffer answer;
    try {
      answer = accepted.config().getOption(four ? ORIGINAL_DST : ORIGINAL_DST6);
    } catch (ChannelException _) {
      return Optional.empty(); // ENOENT: conntrack knows no redirection for this connection
    }
    answer.order(ByteOrder.BIG_ENDIAN);
    int port = answer.getShort(2) & 0xffff;
    byte[] address = new byte[four ? 4 : 16];
    answer.get(four ? 4 : 8, address);
    try {
      return Optional.of(new OriginalDst(InetAddress.getByAddress(address), port));
    } catch (UnknownHostException e) {
      throw new IllegalStateException("4 or 16 bytes are an address", e);
    }
  }
}
