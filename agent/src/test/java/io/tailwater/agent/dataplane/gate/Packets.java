package io.tailwater.agent.dataplane.gate;

import io.tailwater.iptables.queue.Checksums;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;

/// Writes the packets of one side of a TCP connection.
final class Packets {
  static final int FIN = 1;
  static final int SYN = 2;
  static final int RST = 4;
  static final int PSH = 8;
  static final int ACK = 16;
  static final int URG = 32;

  static final InetSocketAddress POD = at("192.0.2.7", 40_000);
  static final InetSocketAddress SERVER = at("203.0.113.9", 443);
  static final InetSocketAddress POD6 = at("2001:db8:1::7", 40_000);
  static final InetSocketAddress SERVER6 = at("2001:db8:2::9", 443);

  /// As a usual SYN has them: MSS 1460, SACK, timestamps, window scale.
  static final byte[] SYN_OPTIONS = {
    2, 4, 5, (byte) 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7
  };

  /// Timestamps.
  static final byte[] OPTIONS = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2};

  private Packets() {}

  static InetSocketAddress at(String address, int port) {
    return new InetSocketAddress(InetAddress.ofLiteral(address), port);
  }

  static ByteBuffer segment(
      InetSocketAddress from,
      InetSocketAddress to,
      int seq,
      int ack,
      int flags,
      byte[] options,
      byte[] payload) {
    return segment(from, to, seq, ack, flags, options, payload, 502);
  }

  static ByteBuffer segment(
      InetSocketAddress from,
      InetSocketAddress to,
      int seq,
      int ack,
      int flags,
      byte[] options,
      byte[] payload,
      int window) {
    byte[] source = from.getAddress().getAddress();
    boolean six = source.length == 16;
    int ip = six ? 40 : 20;
    int tcp = 20 + options.length;
    ByteBuffer packet = ByteBuffer.allocate(ip + tcp + payload.length);
    if (six) {
      packet.putInt(0, 6 << 28).putShort(4, (short) (tcp + payload.length));
      packet.put(6, (byte) 6).put(7, (byte) 64);
      packet.put(8, source).put(24, to.getAddress().getAddress());
    } else {
      packet.put(0, (byte) 0x45).putShort(2, (short) packet.capacity());
      packet.putShort(6, (short) 0x4000).put(8, (byte) 64).put(9, (byte) 6);
      packet.put(12, source).put(16, to.getAddress().getAddress());
    }
    packet.putShort(ip, (short) from.getPort()).putShort(ip + 2, (short) to.getPort());
    packet.putInt(ip + 4, seq).putInt(ip + 8, ack);
    packet.put(ip + 12, (byte) ((tcp / 4) << 4)).put(ip + 13, (byte) flags);
    packet.putShort(ip + 14, (short) window);
    packet.put(ip + 20, options).put(ip + tcp, payload);
    Checksums.set(packet);
    return packet;
  }
}
