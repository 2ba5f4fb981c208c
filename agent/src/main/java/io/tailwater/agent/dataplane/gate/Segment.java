package io.tailwater.agent.dataplane.gate;

import io.tailwater.iptables.queue.FlowTuple;
import java.nio.ByteBuffer;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// One TCP segment with its IP header, as it lies in a buffer. Made once and used for every packet
/// of a thread: what it tells holds until the next [#read], and as long as the buffer does.
///
/// A packet whose lengths do not fit each other, a fragment or another protocol is not read.
///
/// ```
/// IPv4 (RFC 791)   version 4 | header 5 words | total length at 2 | fragment at 6 | protocol at 9
///                  | source at 12 | destination at 16
/// IPv6 (RFC 8200)  version 6 | payload length at 4 | next header at 6 | source at 8 | destination
///                  at 24
/// TCP (RFC 9293)   ports at 0, 2 | seq at 4 | ack at 8 | header in words, high half of 12 | flags
///                  at 13 | checksum at 16 | options at 20
/// ```
final class Segment {
  static final int FIN = 0x01;
  static final int SYN = 0x02;
  static final int RST = 0x04;
  static final int ACK = 0x10;
  static final int URG = 0x20;

  static final int IPV4_HEADER = 20;
  static final int IPV6_HEADER = 40;
  static final int TCP_HEADER = 20;
  static final int TCP = 6;

  private static final int OPTION_END = 0;
  private static final int OPTION_NOTHING = 1;
  private static final int OPTION_MSS = 2;

  /// RFC 9293 section 3.7.1, where the option is missing.
  private static final int MSS_IPV4 = 536;

  private static final int MSS_IPV6 = 1220;

  /// Hop-by-hop, routing and destination options.
  private static final Set<Integer> EXTENSIONS = Set.of(0, 43, 60);

  private ByteBuffer packet = ByteBuffer.allocate(0);
  private int start;
  private boolean ipv6;
  private int ipHeader;
  private int tcpHeader;
  private int length;
  private @Nullable String oddity;

  /// Reads what is between position and limit of the buffer, which stay as they are.
  ///
  /// @return whether it is a segment of a connection, even if an odd one
  boolean read(ByteBuffer bytes) {
    packet = bytes;
    start = bytes.position();
    oddity = null;
    int all = bytes.remaining();
    int version = all == 0 ? 0 : u8(0) >> 4;
    boolean read =
        switch (version) {
          case 4 -> ipv4(all);
          case 6 -> ipv6(all);
          default -> false;
        };
    return read && tcp(all);
  }

  private boolean ipv4(int all) {
    ipv6 = false;
    ipHeader = (u8(0) & 0xf) * 4;
    if (all < IPV4_HEADER || u16(2) != all || ipHeader < IPV4_HEADER || ipHeader > all) {
      return false;
    }
    if (ipHeader > IPV4_HEADER) {
      oddity = "the packet has IP options";
    }
    boolean fragment = (u16(6) & 0x3fff) != 0;
    return u8(9) == TCP && !fragment;
  }

  private boolean ipv6(int all) {
    ipv6 = true;
    ipHeader = IPV6_HEADER;
    if (all < IPV6_HEADER || u16(4) != all - IPV6_HEADER) {
      return false;
    }
    int next = u8(6);
    while (EXTENSIONS.contains(next) && ipHeader + 8 <= all) {
      oddity = "the packet has IPv6 extension headers";
      next = u8(ipHeader);
      ipHeader += (u8(ipHeader + 1) + 1) * 8;
    }
    return next == TCP && ipHeader <= all;
  }

  private boolean tcp(int all) {
    if (all < ipHeader + TCP_HEADER) {
      return false;
    }
    tcpHeader = u8(ipHeader + 12) >> 4 << 2;
    length = all - ipHeader - tcpHeader;
    return tcpHeader >= TCP_HEADER && length >= 0;
  }

  /// What is so unusual about the packet that the server could read it otherwise than we do; null
  /// for an ordinary one.
  @Nullable String oddity() {
    return oddity;
  }

  boolean ipv6() {
    return ipv6;
  }

  /// The ends, source first.
  FlowTuple tuple() {
    int ports = i32(ipHeader);
    return ipv6
        ? new FlowTuple(true, i64(8), i64(16), i64(24), i64(32), ports)
        : new FlowTuple(false, 0, i32(12) & 0xffffffffL, 0, i32(16) & 0xffffffffL, ports);
  }

  int seq() {
    return i32(ipHeader + 4);
  }

  int ack() {
    return i32(ipHeader + 8);
  }

  boolean has(int flag) {
    return (u8(ipHeader + 13) & flag) != 0;
  }

  /// Payload bytes.
  int length() {
    return length;
  }

  /// Bytes of options in the TCP header.
  int optionBytes() {
    return tcpHeader - TCP_HEADER;
  }

  /// Where the payload begins, in the buffer.
  int payloadAt() {
    return start + ipHeader + tcpHeader;
  }

  /// Where the TCP header begins, counted from the IP header.
  int tcpAt() {
    return ipHeader;
  }

  /// Both headers.
  int headerBytes() {
    return ipHeader + tcpHeader;
  }

  byte payload(int at) {
    return packet.get(payloadAt() + at);
  }

  /// Copies payload bytes.
  void payload(int from, byte[] to, int at, int count) {
    packet.get(payloadAt() + from, to, at, count);
  }

  ByteBuffer packet() {
    return packet;
  }

  /// The largest segment that the sender of a SYN can take, which is what fits its own link.
  int mss() {
    int at = ipHeader + TCP_HEADER;
    int end = ipHeader + tcpHeader;
    while (at < end) {
      int kind = u8(at);
      if (kind == OPTION_END) {
        break;
      }
      if (kind == OPTION_NOTHING) {
        at++;
        continue;
      }
      int size = at + 1 < end ? u8(at + 1) : 0;
      if (size < 2 || at + size > end) {
        break;
      }
      if (kind == OPTION_MSS && size == 4) {
        return u16(at + 2);
      }
      at += size;
    }
    return ipv6() ? MSS_IPV6 : MSS_IPV4;
  }

  private int u8(int at) {
    return packet.get(start + at) & 0xff;
  }

  private int u16(int at) {
    return u8(at) << 8 | u8(at + 1);
  }

  private int i32(int at) {
    return u16(at) << 16 | u16(at + 2);
  }

  private long i64(int at) {
    return (long) i32(at) << 32 | (i32(at + 4) & 0xffffffffL);
  }
}
