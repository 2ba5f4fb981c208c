package io.tailwater.iptables.tproxy;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.Syscalls;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import jnr.ffi.Pointer;
import jnr.ffi.Runtime;
import org.jspecify.annotations.Nullable;

/// A `struct msghdr` outside the heap with all that it points to. Sizes and offsets are those of
/// 64-bit machines. One thread at a time.
///
/// ```
/// struct msghdr   {ptr name; u32 name_length; ptr iov; u64 iov_count; ptr control; u64 control_length; s32 flags}
/// struct iovec    {ptr base; u64 length}
/// struct cmsghdr  {u64 length; s32 level; s32 type} data
/// struct sockaddr_in  {u16 family; be16 port; u8 address[4]; u8 zero[8]}
/// struct sockaddr_in6 {u16 family; be16 port; be32 flow; u8 address[16]; u32 scope}
/// ```
final class MessageMemory {
  private static final int VECTOR = 56;
  private static final int NAME = VECTOR + 16;
  private static final int NAME_ROOM = 32;
  private static final int CONTROL = NAME + NAME_ROOM;
  private static final int CONTROL_ROOM = 256;
  private static final int CONTROL_DATA = 16;
  private static final int DATA = CONTROL + CONTROL_ROOM;
  private static final int SOCKADDR_IN = 16;
  private static final int SOCKADDR_IN6 = 28;

  private final ByteBuffer bytes;
  private final long address;
  private final int room;

  /// @param room for the packet
  MessageMemory(int room) {
    this.room = room;
    this.bytes = ByteBuffer.allocateDirect(DATA + room).order(ByteOrder.nativeOrder());
    this.address = Pointer.wrap(Runtime.getSystemRuntime(), bytes).address();
  }

  /// Receives one packet: its length, or `-errno`.
  long receive(int fd) {
    header(NAME_ROOM, room, CONTROL_ROOM);
    return Syscalls.receiveMessage(fd, address);
  }

  /// Whether the last packet did not fit.
  boolean isTruncated() {
    return (bytes.getInt(48) & Syscalls.MSG_TRUNC) != 0;
  }

  byte[] packet(int length) {
    byte[] packet = new byte[length];
    bytes.get(DATA, packet);
    return packet;
  }

  /// Who sent the last packet.
  InetSocketAddress sender() {
    return socketAddress(NAME);
  }

  /// Whom the last packet was for, from `IP_ORIGDSTADDR` or `IPV6_ORIGDSTADDR`; null where the
  /// kernel did not say.
  @Nullable InetSocketAddress dialled() {
    int end = CONTROL + (int) bytes.getLong(40);
    int at = CONTROL;
    while (at + CONTROL_DATA <= end) {
      int length = (int) bytes.getLong(at);
      int level = bytes.getInt(at + 8);
      int type = bytes.getInt(at + 12);
      boolean four = level == Syscalls.IPPROTO_IP && type == Syscalls.IP_RECVORIGDSTADDR;
      boolean six = level == Syscalls.IPPROTO_IPV6 && type == Syscalls.IPV6_RECVORIGDSTADDR;
      if (four || six) {
        return socketAddress(at + CONTROL_DATA);
      }
      at += Math.max(CONTROL_DATA, (length + 7) & ~7);
    }
    return null;
  }

  /// Sends one packet from an address that may be somebody else's: its length, or `-errno`.
  long send(int fd, byte[] packet, InetAddress from, InetSocketAddress to) {
    boolean six = from instanceof Inet6Address;
    if (packet.length > room || six != to.getAddress() instanceof Inet6Address) {
      return -Errno.EINVAL;
    }
    int control = CONTROL_DATA + (six ? 20 : 12);
    header(six ? SOCKADDR_IN6 : SOCKADDR_IN, packet.length, (control + 7) & ~7);
    bytes.putLong(CONTROL, control);
    bytes.putInt(CONTROL + 8, six ? Syscalls.IPPROTO_IPV6 : Syscalls.IPPROTO_IP);
    bytes.putInt(CONTROL + 12, six ? Syscalls.IPV6_PKTINFO : Syscalls.IP_PKTINFO);
    int data = CONTROL + CONTROL_DATA;
    if (six) { // struct in6_pktinfo {u8 address[16]; u32 interface}
      bytes.put(data, from.getAddress());
      bytes.putInt(data + 16, ((Inet6Address) from).getScopeId());
    } else { // struct in_pktinfo {s32 interface; u8 source[4]; u8 header[4]}
      bytes.putInt(data, 0);
      bytes.put(data + 4, from.getAddress());
      bytes.putInt(data + 8, 0);
    }
    name(to);
    bytes.put(DATA, packet);
    return Syscalls.sendMessage(fd, address);
  }

  private void header(int nameLength, int length, int control) {
    bytes.putLong(0, address + NAME);
    bytes.putInt(8, nameLength);
    bytes.putLong(16, address + VECTOR);
    bytes.putLong(24, 1);
    bytes.putLong(32, address + CONTROL);
    bytes.putLong(40, control);
    bytes.putInt(48, 0);
    bytes.putLong(VECTOR, address + DATA);
    bytes.putLong(VECTOR + 8, length);
  }

  private void name(InetSocketAddress to) {
    bytes.put(NAME, layout(to));
  }

  /// An address in the layout of its family.
  static byte[] layout(InetSocketAddress address) {
    InetAddress host = address.getAddress();
    boolean six = host instanceof Inet6Address;
    ByteBuffer bytes =
        ByteBuffer.allocate(six ? SOCKADDR_IN6 : SOCKADDR_IN).order(ByteOrder.nativeOrder());
    bytes.putShort(0, (short) (six ? Syscalls.AF_INET6 : Syscalls.AF_INET));
    bytes.put(2, (byte) (address.getPort() >> 8)).put(3, (byte) address.getPort());
    bytes.put(six ? 8 : 4, host.getAddress());
    if (six) {
      bytes.putInt(24, ((Inet6Address) host).getScopeId());
    }
    return bytes.array();
  }

  /// Of a link-local address; -1 for none.
  private int scope(int at) {
    int scope = bytes.getInt(at + 24);
    return scope == 0 ? -1 : scope;
  }

  private InetSocketAddress socketAddress(int at) {
    boolean six = bytes.getShort(at) == Syscalls.AF_INET6;
    int port = ((bytes.get(at + 2) & 0xff) << 8) | (bytes.get(at + 3) & 0xff);
    byte[] raw = new byte[six ? 16 : 4];
    bytes.get(at + (six ? 8 : 4), raw);
    try {
      InetAddress host =
          six ? Inet6Address.getByAddress(null, raw, scope(at)) : InetAddress.getByAddress(raw);
      return new InetSocketAddress(host, port);
    } catch (UnknownHostException e) {
      throw new IllegalStateException("4 or 16 bytes are an address", e);
    }
  }
}
