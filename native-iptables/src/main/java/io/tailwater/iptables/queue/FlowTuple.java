package io.tailwater.iptables.queue;

import io.tailwater.iptables.netlink.Attributes;
import io.tailwater.iptables.netlink.MessageWriter;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.util.Optional;

/// A TCP connection as the side that began it sees it: the original tuple of conntrack, before any
/// translation. A value of 56 bytes, cheap as a key.
///
/// @param six IPv6; otherwise the addresses are in the lower 32 bits of the low halves
/// @param ports source in the upper 16 bits, destination in the lower
public record FlowTuple(
    boolean six,
    long sourceHigh,
    long sourceLow,
    long destinationHigh,
    long destinationLow,
    int ports) {
  private static final int TCP = 6;

  /// Where the ports are in a packet of the smallest header.
  private static final int IPV4_HEADER = 20;

  private static final int IPV6_HEADER = 40;

  /// `linux/netfilter/nfnetlink_conntrack.h`
  private static final int TUPLE_IP = 1;

  private static final int TUPLE_PROTO = 2;
  private static final int V4_SOURCE = 1;
  private static final int V4_DESTINATION = 2;
  private static final int V6_SOURCE = 3;
  private static final int V6_DESTINATION = 4;
  private static final int PROTO_NUMBER = 1;
  private static final int SOURCE_PORT = 2;
  private static final int DESTINATION_PORT = 3;

  /// Written out, as is [#hashCode]: what the compiler makes for a record goes through method
  /// handles, which cost several times as much without C2, and every packet at the gate is looked
  /// up.
  @Override
  public boolean equals(Object other) {
    return other instanceof FlowTuple flow
        && ports == flow.ports
        && sourceLow == flow.sourceLow
        && destinationLow == flow.destinationLow
        && sourceHigh == flow.sourceHigh
        && destinationHigh == flow.destinationHigh
        && six == flow.six;
  }

  @Override
  public int hashCode() {
    int hash = Long.hashCode(sourceHigh) * 31 + Long.hashCode(sourceLow);
    hash = hash * 31 + Long.hashCode(destinationHigh);
    return (hash * 31 + Long.hashCode(destinationLow)) * 31 + ports;
  }

  /// @throws IllegalArgumentException for addresses of different families
  public static FlowTuple of(InetSocketAddress source, InetSocketAddress destination) {
    byte[] from = source.getAddress().getAddress();
    byte[] to = destination.getAddress().getAddress();
    if (from.length != to.length) {
      throw new IllegalArgumentException(source + " and " + destination + " are of two families");
    }
    return new FlowTuple(
        from.length == 16,
        high(from),
        low(from),
        high(to),
        low(to),
        source.getPort() << 16 | destination.getPort());
  }

  /// Of a packet that begins with its IP header at the buffer's position; empty when it is not TCP
  /// with ports that can be read, or has extension headers of IPv6. The position stays.
  public static Optional<FlowTuple> ofPacket(ByteBuffer packet) {
    int at = packet.position();
    int length = packet.remaining();
    int version = length == 0 ? 0 : (packet.get(at) & 0xff) >> 4;
    if (version == 4 && length >= IPV4_HEADER && packet.get(at + 9) == TCP) {
      int header = (packet.get(at) & 0xf) * 4;
      boolean first = (be16(packet, at + 6) & 0x1fff) == 0;
      return header >= IPV4_HEADER && length >= header + 4 && first
          ? Optional.of(
              new FlowTuple(
                  false,
                  0,
                  be32(packet, at + 12),
                  0,
                  be32(packet, at + 16),
                  (int) be32(packet, at + header)))
          : Optional.empty();
    }
    if (version == 6 && length >= IPV6_HEADER + 4 && packet.get(at + 6) == TCP) {
      return Optional.of(
          new FlowTuple(
              true,
              be64(packet, at + 8),
              be64(packet, at + 16),
              be64(packet, at + 24),
              be64(packet, at + 32),
              (int) be32(packet, at + IPV6_HEADER)));
    }
    return Optional.empty();
  }

  /// Who sends a packet that begins with its IP header at the buffer's position, whatever it
  /// carries; empty when it is none. The position stays.
  public static Optional<InetAddress> sourceOfPacket(ByteBuffer packet) {
    int length = packet.remaining();
    int version = length == 0 ? 0 : (packet.get(packet.position()) & 0xff) >> 4;
    byte[] address = new byte[version == 6 ? 16 : 4];
    int at = version == 6 ? 8 : 12;
    if ((version != 4 && version != 6) || length < at + address.length) {
      return Optional.empty();
    }
    packet.get(packet.position() + at, address);
    return Optional.of(address(address));
  }

  public int sourcePort() {
    return ports >>> 16;
  }

  public int destinationPort() {
    return ports & 0xffff;
  }

  /// Allocates.
  public InetAddress sourceAddress() {
    return address(sourceHigh, sourceLow);
  }

  /// Allocates.
  public InetAddress destinationAddress() {
    return address(destinationHigh, destinationLow);
  }

  /// Allocates.
  public InetSocketAddress source() {
    return new InetSocketAddress(sourceAddress(), sourcePort());
  }

  /// Allocates.
  public InetSocketAddress destination() {
    return new InetSocketAddress(destinationAddress(), destinationPort());
  }

  /// As the other side sees it.
  public FlowTuple reversed() {
    return new FlowTuple(
        six, destinationHigh, destinationLow, sourceHigh, sourceLow, ports << 16 | ports >>> 16);
  }

  @Override
  public String toString() {
    return source() + " -> " + destination();
  }

  /// AF_INET or AF_INET6.
  int family() {
    return six ? 10 : 2;
  }

  /// Both addresses in network order.
  void putAddresses(ByteBuffer into, int sourceAt, int destinationAt) {
    putAddress(into, sourceAt, sourceHigh, sourceLow);
    putAddress(into, destinationAt, destinationHigh, destinationLow);
  }

  private void putAddress(ByteBuffer into, int at, long high, long low) {
    if (six) {
      into.putLong(at, high).putLong(at + 8, low);
    } else {
      into.putInt(at, (int) low);
    }
  }

  /// `CTA_TUPLE_ORIG { CTA_TUPLE_IP, CTA_TUPLE_PROTO }`
  void write(MessageWriter into, int type) {
    int tuple = into.nest(type);
    int ip = into.nest(TUPLE_IP);
    if (six) {
      into.be128(V6_SOURCE, sourceHigh, sourceLow);
      into.be128(V6_DESTINATION, destinationHigh, destinationLow);
    } else {
      into.be32(V4_SOURCE, (int) sourceLow).be32(V4_DESTINATION, (int) destinationLow);
    }
    into.endNest(ip);
    int proto = into.nest(TUPLE_PROTO);
    into.u8(PROTO_NUMBER, TCP).be16(SOURCE_PORT, sourcePort());
    into.be16(DESTINATION_PORT, destinationPort());
    into.endNest(proto).endNest(tuple);
  }

  /// Reads `CTA_TUPLE_ORIG`; empty for another protocol than TCP.
  static Optional<FlowTuple> read(Attributes tuple) {
    Attributes part = new Attributes();
    Attributes value = new Attributes();
    boolean six = false;
    boolean tcp = false;
    long[] halves = new long[4];
    int ports = 0;
    tuple.nested(part);
    while (part.next()) {
      part.nested(value);
      while (value.next()) {
        if (part.type() == TUPLE_IP) {
          switch (value.type()) {
            case V4_SOURCE -> halves[1] = value.be32() & 0xffffffffL;
            case V4_DESTINATION -> halves[3] = value.be32() & 0xffffffffL;
            case V6_SOURCE -> {
              six = true;
              halves[0] = value.be64();
              halves[1] = value.be64(8);
            }
            case V6_DESTINATION -> {
              halves[2] = value.be64();
              halves[3] = value.be64(8);
            }
            default -> {} // no address
          }
        } else if (part.type() == TUPLE_PROTO) {
          switch (value.type()) {
            case PROTO_NUMBER -> tcp = value.u8() == TCP;
            case SOURCE_PORT -> ports |= value.be16() << 16;
            case DESTINATION_PORT -> ports |= value.be16();
            default -> {} // of other protocols
          }
        }
      }
    }
    return tcp
        ? Optional.of(new FlowTuple(six, halves[0], halves[1], halves[2], halves[3], ports))
        : Optional.empty();
  }

  private InetAddress address(long high, long low) {
    ByteBuffer bytes = ByteBuffer.allocate(six ? 16 : 4);
    putAddress(bytes, 0, high, low);
    return address(bytes.array());
  }

  private static InetAddress address(byte[] bytes) {
    try {
      return InetAddress.getByAddress(bytes);
    } catch (UnknownHostException e) {
      throw new IllegalStateException("an address of " + bytes.length + " bytes", e);
    }
  }

  private static long high(byte[] address) {
    return address.length == 16 ? ByteBuffer.wrap(address).getLong(0) : 0;
  }

  private static long low(byte[] address) {
    ByteBuffer bytes = ByteBuffer.wrap(address);
    return address.length == 16 ? bytes.getLong(8) : bytes.getInt(0) & 0xffffffffL;
  }

  /// Whatever the buffer's order is.
  private static int be16(ByteBuffer packet, int at) {
    return (packet.get(at) & 0xff) << 8 | (packet.get(at + 1) & 0xff);
  }

  private static long be32(ByteBuffer packet, int at) {
    return ((long) be16(packet, at) << 16 | be16(packet, at + 2)) & 0xffffffffL;
  }

  private static long be64(ByteBuffer packet, int at) {
    return be32(packet, at) << 32 | be32(packet, at + 4);
  }
}
