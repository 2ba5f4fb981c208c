package io.tailwater.iptables.queue;

import java.nio.ByteBuffer;
import java.util.Optional;

/// The headers of a segment with FIN or RST: where a connection's bytes have ended. Sequence
/// numbers are those of the wire, as unsigned 32 bits.
///
/// @param flow as the sender of this segment sees it
/// @param sequence of its first byte
/// @param acknowledgement what its sender expects next; means nothing without ACK
/// @param payload bytes of payload in it
/// @param flags as in the header, see [#isFin] and the others
public record EndSegment(
    FlowTuple flow, int sequence, int acknowledgement, int payload, int flags) {
  private static final int FIN = 0x01;
  private static final int RST = 0x04;
  private static final int ACK = 0x10;
  private static final int IPV6_HEADER = 40;
  private static final int TCP_HEADER = 20;

  /// The same, of other ends: where a node translates addresses.
  public EndSegment of(FlowTuple other) {
    return new EndSegment(other, sequence, acknowledgement, payload, flags);
  }

  public boolean isFin() {
    return (flags & FIN) != 0;
  }

  public boolean isReset() {
    return (flags & RST) != 0;
  }

  /// Whether [#acknowledgement] counts.
  public boolean acknowledges() {
    return (flags & ACK) != 0;
  }

  /// The sequence number behind its payload, without the one that FIN takes.
  public int end() {
    return sequence + payload;
  }

  /// Reads a packet from its IP header on, of which the end may be missing; empty for what is no
  /// TCP segment with whole headers.
  static Optional<EndSegment> read(ByteBuffer packet) {
    Optional<FlowTuple> flow = FlowTuple.ofPacket(packet);
    if (flow.isEmpty()) {
      return Optional.empty();
    }
    int at = packet.position();
    boolean six = flow.get().six();
    int tcp = at + (six ? IPV6_HEADER : (packet.get(at) & 0xf) * 4);
    if (packet.limit() < tcp + TCP_HEADER) {
      return Optional.empty();
    }
    int whole = six ? IPV6_HEADER + be16(packet, at + 4) : be16(packet, at + 2);
    int headers = tcp - at + ((packet.get(tcp + 12) & 0xf0) >> 2);
    return Optional.of(
        new EndSegment(
            flow.get(),
            be32(packet, tcp + 4),
            be32(packet, tcp + 8),
            Math.max(0, whole - headers),
            packet.get(tcp + 13) & 0xff));
  }

  /// Whatever the buffer's order is.
  private static int be16(ByteBuffer packet, int at) {
    return (packet.get(at) & 0xff) << 8 | (packet.get(at + 1) & 0xff);
  }

  private static int be32(ByteBuffer packet, int at) {
    return be16(packet, at) << 16 | be16(packet, at + 2);
  }
}
