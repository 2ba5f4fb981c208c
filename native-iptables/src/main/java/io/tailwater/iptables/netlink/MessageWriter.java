package io.tailwater.iptables.netlink;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/// Writes netlink messages one behind the other into memory of its own, to be sent in one go.
/// Headers and lengths are in the machine's byte order, as the kernel wants them
/// (`linux/netlink.h`); attributes of netfilter carry big-endian numbers, and the method says so.
/// Not safe for use by several threads; used again after [#clear], it allocates nothing.
///
///     u32 length | u16 type | u16 flags | u32 sequence | u32 port      header
///     u8 family | u8 version | be16 resource                           netfilter only (nfgenmsg)
///     u16 length | u16 type | value, padded to 4                       attributes
public final class MessageWriter {
  public static final int REQUEST = 0x1;
  public static final int ACK = 0x4;
  public static final int DUMP = 0x300;
  public static final int REPLACE = 0x100;
  public static final int EXCL = 0x200;
  public static final int CREATE = 0x400;

  /// NLA_F_NESTED, set on every attribute made by [#nest].
  static final int NESTED = 0x8000;

  private final NetlinkMemory memory;
  private final ByteBuffer buffer;
  private int start = -1;

  /// @param capacity in bytes; writing beyond it throws
  public MessageWriter(int capacity) {
    this.memory = new NetlinkMemory(capacity);
    this.buffer = memory.bytes();
  }

  /// Forgets what was written.
  public MessageWriter clear() {
    buffer.clear();
    start = -1;
    return this;
  }

  /// Begins a message. [#end] finishes it.
  public MessageWriter begin(int type, int flags, int sequence) {
    if (start >= 0) {
      throw new IllegalStateException("the message before has not ended");
    }
    start = buffer.position();
    buffer.putInt(0).putShort((short) type).putShort((short) flags).putInt(sequence).putInt(0);
    return this;
  }

  /// Begins a message of netfilter (`linux/netfilter/nfnetlink.h`).
  ///
  /// @param subsystem such as 10 for nf_tables, 4 for logging, 6 for ipset
  /// @param resource a queue or group number, or 0
  public MessageWriter beginNetfilter(
      int subsystem, int message, int flags, int sequence, int family, int resource) {
    begin((subsystem << 8) | message, flags, sequence);
    buffer.put((byte) family).put((byte) 0);
    return be16(resource);
  }

  /// Finishes the message: its length is known now.
  public MessageWriter end() {
    buffer.putInt(start, buffer.position() - start);
    start = -1;
    return this;
  }

  /// A plain value behind the header, before any attribute.
  public MessageWriter raw(byte[] value) {
    buffer.put(value);
    return pad();
  }

  /// An attribute of any value.
  public MessageWriter bytes(int type, byte[] value) {
    attribute(type, value.length).buffer.put(value);
    return pad();
  }

  /// An attribute of the bytes between a buffer's position and limit, which stay.
  public MessageWriter bytes(int type, ByteBuffer value) {
    attribute(type, value.remaining());
    buffer.put(buffer.position(), value, value.position(), value.remaining());
    buffer.position(buffer.position() + value.remaining());
    return pad();
  }

  /// An attribute of one byte.
  public MessageWriter u8(int type, int value) {
    attribute(type, 1).buffer.put((byte) value);
    return pad();
  }

  /// An attribute of 16 bits, big-endian.
  public MessageWriter be16(int type, int value) {
    attribute(type, 2).be16(value);
    return pad();
  }

  /// An attribute of 32 bits, big-endian.
  public MessageWriter be32(int type, int value) {
    attribute(type, 4).buffer.putInt(bigEndian(value));
    return this;
  }

  /// An attribute of 64 bits, big-endian.
  public MessageWriter be64(int type, long value) {
    attribute(type, 8)
        .buffer
        .putLong(buffer.order() == ByteOrder.BIG_ENDIAN ? value : Long.reverseBytes(value));
    return this;
  }

  /// An attribute of 128 bits, big-endian: an address of IPv6.
  public MessageWriter be128(int type, long high, long low) {
    boolean big = buffer.order() == ByteOrder.BIG_ENDIAN;
    attribute(type, 16).buffer.putLong(big ? high : Long.reverseBytes(high));
    buffer.putLong(big ? low : Long.reverseBytes(low));
    return this;
  }

  /// An attribute of 32 bits in the machine's order.
  public MessageWriter u32(int type, int value) {
    attribute(type, 4).buffer.putInt(value);
    return this;
  }

  /// An attribute of text, with the zero byte that ends it.
  public MessageWriter text(int type, String value) {
    byte[] bytes = value.getBytes(StandardCharsets.UTF_8);
    attribute(type, bytes.length + 1).buffer.put(bytes).put((byte) 0);
    return pad();
  }

  /// Opens an attribute that holds attributes; returns where it stands, for [#endNest].
  public int nest(int type) {
    int at = buffer.position();
    attribute(type | NESTED, 0);
    return at;
  }

  /// Closes what [#nest] opened.
  public MessageWriter endNest(int at) {
    buffer.putShort(at, (short) (buffer.position() - at));
    return this;
  }

  /// Bytes written up to now.
  public int length() {
    return buffer.position();
  }

  /// The memory, from its beginning: [#length] bytes of it are written. Not a copy.
  NetlinkMemory memory() {
    return memory;
  }

  /// A copy of what was written.
  public byte[] toBytes() {
    byte[] copy = new byte[buffer.position()];
    buffer.get(0, copy);
    return copy;
  }

  private MessageWriter attribute(int type, int length) {
    buffer.putShort((short) (4 + length)).putShort((short) type);
    return this;
  }

  private MessageWriter be16(int value) {
    buffer.put((byte) (value >>> 8)).put((byte) value);
    return this;
  }

  private int bigEndian(int value) {
    return buffer.order() == ByteOrder.BIG_ENDIAN ? value : Integer.reverseBytes(value);
  }

  private MessageWriter pad() {
    while (((buffer.position() - Math.max(start, 0)) & 3) != 0) {
      buffer.put((byte) 0);
    }
    return this;
  }
}
