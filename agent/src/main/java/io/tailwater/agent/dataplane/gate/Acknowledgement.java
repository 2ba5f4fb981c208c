package io.tailwater.agent.dataplane.gate;

import io.tailwater.iptables.queue.Checksums;
import io.tailwater.iptables.queue.FlowTuple;
import java.nio.ByteBuffer;

/// An empty segment in the server's name that tells the pod's TCP that its bytes have arrived, so
/// that it sends on.
final class Acknowledgement {
  private static final int HOP_LIMIT = 64;

  /// The largest that goes without the scale, which was agreed on unseen.
  static final int WINDOW = 65_535;

  private Acknowledgement() {}

  /// @param tuple as the pod sees it
  /// @param seq what the pod expects next
  /// @param ack behind the last byte that has arrived
  /// @param window what may follow; with 0 the pod sends only again what it has sent
  static ByteBuffer of(FlowTuple tuple, int seq, int ack, int window) {
    int tcp = tuple.six() ? Segment.IPV6_HEADER : Segment.IPV4_HEADER;
    ByteBuffer packet = ByteBuffer.allocate(tcp + Segment.TCP_HEADER);
    if (tuple.six()) {
      packet.putInt(0, 6 << 28).putShort(4, (short) Segment.TCP_HEADER);
      packet.put(6, (byte) Segment.TCP).put(7, (byte) HOP_LIMIT);
      packet.putLong(8, tuple.destinationHigh()).putLong(16, tuple.destinationLow());
      packet.putLong(24, tuple.sourceHigh()).putLong(32, tuple.sourceLow());
    } else {
      packet.putShort(0, (short) 0x4500).putShort(2, (short) packet.capacity());
      packet.putShort(6, (short) 0x4000);
      packet.put(8, (byte) HOP_LIMIT).put(9, (byte) Segment.TCP);
      packet.putInt(12, (int) tuple.destinationLow()).putInt(16, (int) tuple.sourceLow());
    }
    packet.putShort(tcp, (short) tuple.destinationPort());
    packet.putShort(tcp + 2, (short) tuple.sourcePort());
    packet.putInt(tcp + 4, seq).putInt(tcp + 8, ack);
    packet.put(tcp + 12, (byte) (Segment.TCP_HEADER << 2)).put(tcp + 13, (byte) Segment.ACK);
    packet.putShort(tcp + 14, (short) window);
    Checksums.set(packet);
    return packet;
  }
}
