package io.tailwater.iptables.queue;

import java.nio.ByteBuffer;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/// The packets of a queue, copied, for a test to answer from its own thread.
final class HeldPackets implements PacketQueue.Packets {
  private static final int NOT_HELD = 0;

  /// One of them.
  record Held(int id, boolean partial, boolean gso, ByteBuffer packet) {
    FlowTuple flow() {
      return FlowTuple.ofPacket(packet).orElseThrow();
    }

    private int tcp() {
      return flow().six() ? 40 : (packet.get(0) & 0xf) * 4;
    }

    int sequence() {
      return packet.getInt(tcp() + 4);
    }

    int acknowledged() {
      return packet.getInt(tcp() + 8);
    }

    int flags() {
      return packet.get(tcp() + 13) & 0xff;
    }

    /// Of a packet that has gone on.
    boolean isLogged() {
      return id == NOT_HELD;
    }

    boolean isSyn() {
      return (flags() & 0x2) != 0;
    }

    int hops() {
      return packet.get(flow().six() ? 7 : 8) & 0xff;
    }

    String payload() {
      int from = tcp() + ((packet.get(tcp() + 12) & 0xf0) >> 2);
      byte[] bytes = new byte[packet.limit() - from];
      packet.get(from, bytes);
      return new String(bytes, java.nio.charset.StandardCharsets.ISO_8859_1);
    }
  }

  private final BlockingQueue<Held> packets = new LinkedBlockingQueue<>();
  final AtomicInteger losses = new AtomicInteger();
  final AtomicInteger recoveries = new AtomicInteger();

  @Override
  public void held(PacketQueue queue, QueuedPacket packet) {
    ByteBuffer copy = ByteBuffer.allocate(packet.payload().remaining());
    copy.put(packet.payload()).flip();
    packets.add(
        new Held(packet.id(), packet.checksumIsLeftToHardware(), packet.isSegmentedLater(), copy));
  }

  @Override
  public void begun(PacketQueue queue, ByteBuffer packet) {
    ByteBuffer copy = ByteBuffer.allocate(packet.remaining());
    copy.put(packet).flip();
    packets.add(new Held(NOT_HELD, false, false, copy));
  }

  @Override
  public void lost(PacketQueue queue) {
    losses.incrementAndGet();
  }

  @Override
  public void recovered(PacketQueue queue) {
    recoveries.incrementAndGet();
  }

  /// The next one, which comes within two seconds.
  Held next() throws InterruptedException {
    Held held = packets.poll(2, TimeUnit.SECONDS);
    if (held == null) {
      throw new AssertionError("nothing was held");
    }
    return held;
  }

  /// Whether nothing comes for a moment.
  boolean isQuiet() throws InterruptedException {
    Thread.sleep(150);
    return packets.isEmpty();
  }

  /// The same, but for copies of a segment: on the node, the pod's TCP does not know that what it
  /// has sent waits, and sends it again.
  boolean isQuietBut(Held segment) throws InterruptedException {
    Thread.sleep(150);
    packets.removeIf(
        one -> one.sequence() == segment.sequence() && one.payload().equals(segment.payload()));
    return packets.isEmpty();
  }

  int size() {
    return packets.size();
  }
}
