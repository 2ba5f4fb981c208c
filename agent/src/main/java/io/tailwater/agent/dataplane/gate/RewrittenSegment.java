package io.tailwater.agent.dataplane.gate;

import io.tailwater.iptables.queue.Checksums;
import java.nio.ByteBuffer;

/// A held packet with another payload: the headers of the packet, its flags and options, with
/// lengths, sequence number and both checksums put right. The kernel sends it as it is.
final class RewrittenSegment {
  private RewrittenSegment() {}

  /// @param like the packet that is replaced
  /// @param seq of the first byte of the new payload
  /// @param fin whether the stream ends with it
  static ByteBuffer of(Segment like, int seq, byte[] payload, int from, int length, boolean fin) {
    int headers = like.headerBytes();
    byte[] out = new byte[headers + length];
    like.packet().get(like.payloadAt() - headers, out, 0, headers);
    System.arraycopy(payload, from, out, headers, length);
    ByteBuffer packet = ByteBuffer.wrap(out);
    int tcp = like.tcpAt();
    packet.putInt(tcp + 4, seq);
    if (!fin) {
      packet.put(tcp + 13, (byte) (packet.get(tcp + 13) & ~Segment.FIN));
    }
    if (like.ipv6()) {
      packet.putShort(4, (short) (out.length - tcp));
    } else {
      packet.putShort(2, (short) out.length);
    }
    Checksums.set(packet);
    return packet;
  }
}
