package io.tailwater.iptables.queue;

import java.nio.ByteBuffer;

/// Writes the checksums of a TCP segment into it (RFC 791, 3.1; RFC 9293, 3.1; RFC 8200, 8.1).
/// Pure.
public final class Checksums {
  private static final int IPV4_CHECKSUM = 10;
  private static final int IPV6_HEADER = 40;
  private static final int TCP_CHECKSUM = 16;
  private static final int TCP = 6;

  private Checksums() {}

  /// Sets the checksums of IPv4 and TCP, whatever is there, in a packet that begins with its IP
  /// header at the buffer's position and ends at its limit. The position stays.
  ///
  /// @throws IllegalArgumentException for what is no TCP segment, or has headers of IPv6 in between
  public static void set(ByteBuffer packet) {
    int at = packet.position();
    int version = packet.remaining() == 0 ? 0 : (packet.get(at) & 0xff) >> 4;
    int header = version == 4 ? (packet.get(at) & 0xf) * 4 : IPV6_HEADER;
    boolean known = version == 4 || version == 6;
    if (!known
        || packet.remaining() < header + TCP_CHECKSUM + 2
        || packet.get(at + (version == 4 ? 9 : 6)) != TCP) {
      throw new IllegalArgumentException("not a TCP segment with a plain IP header");
    }
    if (version == 4) {
      putShort(packet, at + IPV4_CHECKSUM, 0);
      putShort(packet, at + IPV4_CHECKSUM, ~fold(sum(packet, at, header)));
    }
    int tcp = at + header;
    int length = packet.limit() - tcp;
    putShort(packet, tcp + TCP_CHECKSUM, 0);
    long addresses = version == 4 ? sum(packet, at + 12, 8) : sum(packet, at + 8, 32);
    putShort(
        packet, tcp + TCP_CHECKSUM, ~fold(addresses + TCP + length + sum(packet, tcp, length)));
  }

  private static long sum(ByteBuffer packet, int at, int length) {
    long sum = 0;
    int even = length & ~1;
    for (int i = 0; i < even; i += 2) {
      sum += (packet.get(at + i) & 0xff) << 8 | (packet.get(at + i + 1) & 0xff);
    }
    return even == length ? sum : sum + ((packet.get(at + even) & 0xff) << 8);
  }

  private static int fold(long sum) {
    long folded = sum;
    while (folded >> 16 != 0) {
      folded = (folded & 0xffff) + (folded >> 16);
    }
    return (int) folded;
  }

  /// Whatever the buffer's order is.
  private static void putShort(ByteBuffer packet, int at, int value) {
    packet.put(at, (byte) (value >> 8)).put(at + 1, (byte) value);
  }
}
