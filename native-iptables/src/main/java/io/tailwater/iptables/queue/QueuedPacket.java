package io.tailwater.iptables.queue;

import java.nio.ByteBuffer;

/// A packet that waits in a queue. One object for all packets: it stands for another one after the
/// call that it was given to, so keep its [#id] and copy what is needed of its [#payload].
public final class QueuedPacket {
  /// `enum nf_inet_hooks`: where packets are queued in the node's namespace.
  public static final int PREROUTING = 0;

  /// Where they are queued in a pod's.
  public static final int OUTPUT = 3;

  /// `NFQA_SKB_INFO`: bits of `linux/netfilter/nfnetlink_queue.h`.
  private static final int CHECKSUM_NOT_READY = 1;

  private static final int GSO = 2;
  private static final int CHECKSUM_NOT_VERIFIED = 4;

  private int id;
  private int hook;
  private int mark;
  private int inInterface;
  private int outInterface;
  private int info;
  private int length;
  private ByteBuffer received = ByteBuffer.allocate(0);
  private ByteBuffer payload = ByteBuffer.allocate(0);

  QueuedPacket() {}

  /// The queue's number for it: what a verdict names.
  public int id() {
    return id;
  }

  /// [#PREROUTING] or [#OUTPUT].
  public int hook() {
    return hook;
  }

  /// The packet's mark: whatever the pod has set. Means nothing.
  public int mark() {
    return mark;
  }

  /// The interface it came in by, by number; 0 in [#OUTPUT].
  public int inInterface() {
    return inInterface;
  }

  /// The interface it leaves by; 0 in [#PREROUTING].
  public int outInterface() {
    return outInterface;
  }

  /// Whether its TCP checksum is left to the hardware (CHECKSUM_PARTIAL), as it is in all packets
  /// that a TCP socket has made: what the packet carries there is the sum of the pseudo header.
  /// Packets that a program has written by itself have a checksum, right or wrong.
  public boolean checksumIsLeftToHardware() {
    return (info & CHECKSUM_NOT_READY) != 0;
  }

  /// Whether nobody has verified the checksum that it carries.
  public boolean checksumIsUnverified() {
    return (info & CHECKSUM_NOT_VERIFIED) != 0;
  }

  /// Whether it is several segments in one, larger than the interface's MTU.
  public boolean isSegmentedLater() {
    return (info & GSO) != 0;
  }

  /// Whether [#payload] has less than the packet.
  public boolean isCut() {
    return length > payload.remaining();
  }

  /// Bytes of the packet from its IP header on.
  public int length() {
    return length;
  }

  /// The packet from its IP header on, between position and limit; big-endian. A view of memory
  /// that is used again, valid during the call. Move the position as you like.
  public ByteBuffer payload() {
    return payload;
  }

  @SuppressWarnings("ReferenceEquality") // the very same memory, whatever it contains
  QueuedPacket reset(ByteBuffer memory) {
    if (received != memory) {
      received = memory;
      payload = memory.duplicate(); // big-endian, as duplicates are
    }
    payload.clear().limit(0);
    id = 0;
    hook = 0;
    mark = 0;
    inInterface = 0;
    outInterface = 0;
    info = 0;
    length = 0;
    return this;
  }

  void header(int number, int at) {
    id = number;
    hook = at;
  }

  void mark(int value) {
    mark = value;
  }

  void interfaces(int in, int out) {
    inInterface = in;
    outInterface = out;
  }

  void info(int bits) {
    info = bits;
  }

  void payload(int from, int bytes) {
    payload.limit(from + bytes).position(from);
    length = Math.max(length, bytes);
  }

  /// The size of a packet that was cut.
  void whole(int bytes) {
    length = bytes;
  }
}
