package io.tailwater.iptables.netlink;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/// Walks over netlink attributes (`u16 length | u16 type | value`, padded to 4) without copying.
/// Use one instance for each level of nesting and keep it: walking allocates nothing. A length that
/// does not fit ends the walk.
public final class Attributes {
  private static final int HEADER = 4;

  /// NLA_TYPE_MASK: the two upper bits are flags.
  private static final int TYPE = 0x3fff;

  private ByteBuffer buffer = ByteBuffer.allocate(0);
  private int at;
  private int after;
  private int end;

  Attributes over(ByteBuffer memory, int from, int to) {
    buffer = memory;
    at = from;
    after = from;
    end = to;
    return this;
  }

  /// Moves to the next attribute; false when there is none.
  public boolean next() {
    at = after;
    if (end - at < HEADER) {
      return false;
    }
    int length = buffer.getShort(at) & 0xffff;
    if (length < HEADER || length > end - at) {
      return false;
    }
    after = Math.min(end, at + ((length + 3) & ~3));
    return true;
  }

  /// The type without its flags.
  public int type() {
    return buffer.getShort(at + 2) & TYPE;
  }

  /// Bytes of the value.
  public int length() {
    return (buffer.getShort(at) & 0xffff) - HEADER;
  }

  /// Where the value begins in the memory that was received into.
  public int offset() {
    return at + HEADER;
  }

  /// Lets `into` stand before the attributes inside this one.
  public Attributes nested(Attributes into) {
    return into.over(buffer, offset(), offset() + length());
  }

  /// One byte.
  public int u8() {
    return need(1) ? buffer.get(offset()) & 0xff : 0;
  }

  /// One byte, so many behind the value's beginning: of a structure.
  public int u8(int at) {
    return need(at + 1) ? buffer.get(offset() + at) & 0xff : 0;
  }

  /// 16 bits, big-endian.
  public int be16() {
    return need(2) ? ((buffer.get(offset()) & 0xff) << 8) | (buffer.get(offset() + 1) & 0xff) : 0;
  }

  /// 32 bits, big-endian.
  public int be32() {
    if (!need(4)) {
      return 0;
    }
    int value = buffer.getInt(offset());
    return buffer.order() == ByteOrder.BIG_ENDIAN ? value : Integer.reverseBytes(value);
  }

  /// 64 bits, big-endian.
  public long be64() {
    return be64(0);
  }

  /// 64 bits, big-endian, so many bytes behind the value's beginning.
  public long be64(int at) {
    if (!need(at + 8)) {
      return 0;
    }
    long value = buffer.getLong(offset() + at);
    return buffer.order() == ByteOrder.BIG_ENDIAN ? value : Long.reverseBytes(value);
  }

  /// 64 bits in the machine's order, so many bytes behind the value's beginning: of a structure.
  public long u64(int at) {
    return need(at + 8) ? buffer.getLong(offset() + at) : 0;
  }

  /// 32 bits in the machine's order.
  public int u32() {
    return need(4) ? buffer.getInt(offset()) : 0;
  }

  /// Text, without the zero byte that ends it. Allocates.
  public String text() {
    byte[] bytes = bytes();
    int length = bytes.length;
    while (length > 0 && bytes[length - 1] == 0) {
      length--;
    }
    return new String(bytes, 0, length, StandardCharsets.UTF_8);
  }

  /// A copy of the value. Allocates.
  public byte[] bytes() {
    byte[] copy = new byte[length()];
    buffer.get(offset(), copy);
    return copy;
  }

  /// A value that is shorter than its type says is read as 0: nothing is read from its neighbour.
  private boolean need(int bytes) {
    return length() >= bytes;
  }
}
