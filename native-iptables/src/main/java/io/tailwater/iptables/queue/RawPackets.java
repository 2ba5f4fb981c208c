package io.tailwater.iptables.queue;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.iptables.netlink.NetlinkMemory;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.iptables.rule.Mark;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/// Sends packets with their own IP header in a namespace, in a pod's name: a reset to a server that
/// has never been answered, a segment that was copied and dropped.
///
/// They go through the rules of OUTPUT like all others: in a pod's namespace with the agent's mark,
/// by which these let them pass.
///
/// Any thread; one system call each, without waiting.
public final class RawPackets implements AutoCloseable {
  private static final int IPV4_HEADER = 20;
  private static final int IPV6_HEADER = 40;
  private static final int TCP_HEADER = 20;
  private static final int DATA_OFFSET = 5 << 4;
  private static final int RST_ACK = 0x14;

  /// `struct sockaddr_in` and `sockaddr_in6`; the port is none.
  private static final int ADDRESS_V4 = 16;

  private static final int ADDRESS_V6 = 28;

  private final int four;
  private final int six;
  private final NetlinkMemory reset = new NetlinkMemory(IPV6_HEADER + TCP_HEADER);
  private final NetlinkMemory to = new NetlinkMemory(ADDRESS_V6);
  private boolean closed;

  private RawPackets(int four, int six) {
    this.four = four;
    this.six = six;
  }

  /// On a platform thread outside of any namespace.
  ///
  /// @param mark of all packets: the agent's in a pod's namespace, none on the node
  /// @throws SyscallException without CAP_NET_RAW, or without CAP_NET_ADMIN for a mark
  public static RawPackets open(NetworkNamespace namespace, Optional<Mark> mark) {
    return namespace.call(() -> {
      int four = socket(Syscalls.AF_INET, mark);
      try {
        return new RawPackets(four, sixOrNone(mark));
      } catch (SyscallException e) {
        Syscalls.close(four);
        throw e;
      }
    });
  }

  private static int sixOrNone(Optional<Mark> mark) {
    try {
      return socket(Syscalls.AF_INET6, mark);
    } catch (SyscallException e) {
      if (e.errno() == Errno.EAFNOSUPPORT) {
        return -1;
      }
      throw e;
    }
  }

  private static int socket(int family, Optional<Mark> mark) {
    int fd =
        Syscalls.socket(
            family,
            Syscalls.SOCK_RAW | Syscalls.SOCK_CLOEXEC | Syscalls.SOCK_NONBLOCK,
            Syscalls.IPPROTO_RAW);
    try {
      mark.ifPresent(
          bits -> Syscalls.setsockopt(fd, Syscalls.SOL_SOCKET, Syscalls.SO_MARK, bits.value()));
      return fd;
    } catch (SyscallException e) {
      Syscalls.close(fd);
      throw e;
    }
  }

  /// Resets the destination of a connection in the source's name (RST and ACK). The destination
  /// takes it when `sequence` is the very next that it expects: that of the first byte that has not
  /// been let through.
  ///
  /// @param acknowledged as in the held packet
  /// @return 0 or an error number
  public int reset(FlowTuple flow, int sequence, int acknowledged) {
    synchronized (this) {
      ByteBuffer packet = reset.bytes().order(ByteOrder.BIG_ENDIAN).clear();
      int header = flow.six() ? IPV6_HEADER : IPV4_HEADER;
      packet.limit(header + TCP_HEADER);
      if (flow.six()) {
        packet.putInt(0, 6 << 28).putShort(4, (short) TCP_HEADER);
        packet.put(6, (byte) Syscalls.IPPROTO_TCP).put(7, (byte) KernelPass.HOP_LIMIT);
        flow.putAddresses(packet, 8, 24);
      } else {
        packet.putInt(0, 0x45 << 24 | header + TCP_HEADER).putInt(4, 0x4000);
        packet.put(8, (byte) KernelPass.HOP_LIMIT).put(9, (byte) Syscalls.IPPROTO_TCP);
        flow.putAddresses(packet, 12, 16);
      }
      packet.putInt(header, flow.ports()).putInt(header + 4, sequence);
      packet.putInt(header + 8, acknowledged);
      packet.put(header + 12, (byte) DATA_OFFSET).put(header + 13, (byte) RST_ACK);
      packet.putShort(header + 14, (short) 0).putInt(header + 16, 0);
      Checksums.set(packet);
      return send(flow, reset, packet.limit());
    }
  }

  /// Sends a whole segment, from its IP header at the buffer's position to its limit, with right
  /// checksums and no longer than the MTU. Copies it.
  ///
  /// @return 0 or an error number; EMSGSIZE above the MTU, EINVAL for what is no TCP segment
  public int send(ByteBuffer segment) {
    Optional<FlowTuple> flow = FlowTuple.ofPacket(segment);
    if (flow.isEmpty()) {
      return Errno.EINVAL;
    }
    NetlinkMemory copy = new NetlinkMemory(segment.remaining());
    copy.bytes().put(0, segment, segment.position(), segment.remaining());
    synchronized (this) {
      return send(flow.get(), copy, segment.remaining());
    }
  }

  private int send(FlowTuple flow, NetlinkMemory packet, int length) {
    int fd = flow.six() ? six : four;
    if (closed || fd < 0) {
      return closed ? Errno.EBADF : Errno.EAFNOSUPPORT;
    }
    ByteBuffer address = to.bytes();
    for (int i = 0; i < ADDRESS_V6; i++) {
      address.put(i, (byte) 0);
    }
    address.order(ByteOrder.nativeOrder()).putShort(0, (short) flow.family());
    address.order(ByteOrder.BIG_ENDIAN);
    if (flow.six()) {
      address.putLong(8, flow.destinationHigh()).putLong(16, flow.destinationLow());
    } else {
      address.putInt(4, (int) flow.destinationLow());
    }
    long sent =
        Syscalls.send(
            fd, packet.address(), length, to.address(), flow.six() ? ADDRESS_V6 : ADDRESS_V4);
    return sent < 0 ? (int) -sent : 0;
  }

  /// Idempotent.
  @Override
  public void close() {
    synchronized (this) {
      if (!closed) {
        closed = true;
        Syscalls.close(four);
        if (six >= 0) {
          Syscalls.close(six);
        }
      }
    }
  }
}
