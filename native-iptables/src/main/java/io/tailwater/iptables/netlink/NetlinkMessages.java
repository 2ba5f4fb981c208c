package io.tailwater.iptables.netlink;

import java.nio.ByteBuffer;

/// Walks over the messages of one reception, without copying: [#next] moves on, and the other
/// methods tell of the message that it stands on. Valid until the next reception into the same
/// memory. Lengths that do not fit end the walk; nothing is read beyond what was received.
///
/// Netfilter's messages carry four bytes before their attributes: [#family], [#resource] and
/// [#netfilterAttributes] know them.
public final class NetlinkMessages {
  /// NLMSG_ERROR: an error number, or 0 for an acknowledgement.
  public static final int ERROR = 2;

  /// NLMSG_DONE: the end of a dump.
  public static final int DONE = 3;

  private static final int HEADER = 16;
  private static final int NETFILTER_HEADER = 4;

  private final ByteBuffer buffer;
  private int at;
  private int after;
  private int end;

  /// @param memory that receptions go to
  public NetlinkMessages(NetlinkMemory memory) {
    this.buffer = memory.bytes();
  }

  /// Stands before the first message of a reception of so many bytes.
  public NetlinkMessages received(int length) {
    at = 0;
    after = 0;
    end = length;
    return this;
  }

  /// Moves to the next message; false when there is none.
  public boolean next() {
    at = after;
    if (end - at < HEADER) {
      return false;
    }
    int length = buffer.getInt(at);
    if (length < HEADER || length > end - at) {
      return false;
    }
    after = Math.min(end, at + ((length + 3) & ~3));
    return true;
  }

  /// The type; of netfilter's messages the subsystem is in the upper byte.
  public int type() {
    return buffer.getShort(at + 4) & 0xffff;
  }

  /// `NLM_F_*`.
  public int flags() {
    return buffer.getShort(at + 6) & 0xffff;
  }

  /// The number that the request had; 0 of an event, except where a request caused it.
  public int sequence() {
    return buffer.getInt(at + 8);
  }

  /// The port of the socket whose request this answers, or which caused this event.
  public int port() {
    return buffer.getInt(at + 12);
  }

  /// Of an error or a dump's end: the error number, 0 for none.
  public int errno() {
    return length() >= HEADER + 4 ? -buffer.getInt(at + HEADER) : 0;
  }

  /// The address family of a message of netfilter.
  public int family() {
    return length() > HEADER ? buffer.get(at + HEADER) & 0xff : 0;
  }

  /// The group or queue of a message of netfilter.
  public int resource() {
    return length() >= HEADER + NETFILTER_HEADER
        ? ((buffer.get(at + HEADER + 2) & 0xff) << 8) | (buffer.get(at + HEADER + 3) & 0xff)
        : 0;
  }

  /// A byte of the header that a protocol has of its own, such as `struct rtmsg`.
  public int ownHeader8(int offset) {
    return length() > HEADER + offset ? buffer.get(at + HEADER + offset) & 0xff : 0;
  }

  /// 32 bits of that header, in the machine's order.
  public int ownHeader32(int offset) {
    return length() >= HEADER + offset + 4 ? buffer.getInt(at + HEADER + offset) : 0;
  }

  /// Bytes of the message with its header.
  public int length() {
    return buffer.getInt(at);
  }

  /// 32 bits in the machine's order, so many bytes behind the header; 0 where it is shorter.
  public int body(int offset) {
    return length() >= HEADER + offset + 4 ? buffer.getInt(at + HEADER + offset) : 0;
  }

  /// The memory that [Attributes] offsets count in. Not a copy.
  public ByteBuffer memory() {
    return buffer;
  }

  /// Lets `into` stand before the attributes of a message of netfilter.
  public Attributes netfilterAttributes(Attributes into) {
    return attributes(NETFILTER_HEADER, into);
  }

  /// Lets `into` stand before the attributes that follow a family's own header of so many bytes.
  public Attributes attributes(int ownHeader, Attributes into) {
    int from = at + HEADER + ownHeader;
    return into.over(buffer, Math.min(from, at + length()), at + length());
  }
}
