package io.tailwater.iptables.queue;

import io.tailwater.iptables.netlink.Attributes;
import io.tailwater.iptables.netlink.NetlinkMessages;
import java.util.Optional;

/// What conntrack knows of a TCP connection. Up is what the side that began it sends.
///
/// Bytes are those of IP packets with their headers, one header for several segments that travel as
/// one, retransmissions included: an estimate of the payload, see [#payloadUp].
///
/// @param mark see `KernelPass`
/// @param tcpState of `linux/netfilter/nf_conntrack_tcp.h`, such as 3 ESTABLISHED, 7 TIME_WAIT, 8
///   CLOSE
/// @param midstream its first packet was one from the middle of a connection, and it may have been
///   begun by the other side
/// @param redirected the destination is translated, as by REDIRECT
/// @param startedNanos since 1970, or 0 where the namespace does not keep times
/// @param stoppedNanos likewise; 0 while it is there
public record ConntrackEntry(
    FlowTuple flow,
    int mark,
    int tcpState,
    boolean midstream,
    boolean redirected,
    long packetsUp,
    long bytesUp,
    long packetsDown,
    long bytesDown,
    long startedNanos,
    long stoppedNanos) {
  private static final int TUPLE = 1;
  private static final int STATUS = 3;

  /// IPS_DST_NAT.
  private static final int TRANSLATED = 0x20;

  private static final int PROTOCOL = 4;
  private static final int PROTOCOL_TCP = 1;
  private static final int PROTOCOL_TCP_STATE = 1;

  /// `struct nf_ct_tcp_flags`: u8 flags, u8 mask; of the side that began.
  private static final int PROTOCOL_TCP_FLAGS = 4;

  /// IP_CT_TCP_FLAG_BE_LIBERAL: where the window was not known from the beginning.
  private static final int LIBERAL = 0x8;

  /// `linux/netfilter/nf_conntrack_tcp.h`: in this state and those behind it nothing is said.
  private static final int TIME_WAIT = 7;

  private static final int MARK = 8;
  private static final int COUNTERS_UP = 9;
  private static final int COUNTERS_DOWN = 10;
  private static final int COUNTERS_PACKETS = 1;
  private static final int COUNTERS_BYTES = 2;
  private static final int TIMES = 20;
  private static final int TIMES_START = 1;
  private static final int TIMES_STOP = 2;

  /// IP and TCP headers with timestamps, as nearly every packet has them.
  private static final int HEADERS = 52;

  private static final int IPV6_MORE = 20;

  /// SYN and SYN+ACK carry more options than others.
  private static final int MORE_AT_FIRST = 8;

  /// Whether something may still be said.
  public boolean isLiving() {
    return tcpState < TIME_WAIT;
  }

  /// About how many bytes of payload the pod has sent: without loss and with the usual options it
  /// is exact.
  public long payloadUp() {
    return payload(packetsUp, bytesUp);
  }

  /// The same of what the server has sent.
  public long payloadDown() {
    return payload(packetsDown, bytesDown);
  }

  private long payload(long packets, long bytes) {
    return packets == 0
        ? 0
        : Math.max(0, bytes - packets * (HEADERS + (flow.six() ? IPV6_MORE : 0)) - MORE_AT_FIRST);
  }

  /// Reads an entry or an event; empty for what is not TCP.
  static Optional<ConntrackEntry> read(NetlinkMessages message) {
    Optional<FlowTuple> flow = Optional.empty();
    int mark = 0;
    int status = 0;
    int[] tcp = new int[PROTOCOL_TCP_FLAGS + 1];
    long[] up = new long[2];
    long[] down = new long[2];
    long[] times = new long[2];
    Attributes inner = new Attributes();
    Attributes attribute = message.netfilterAttributes(new Attributes());
    while (attribute.next()) {
      switch (attribute.type()) {
        case TUPLE -> flow = FlowTuple.read(attribute);
        case MARK -> mark = attribute.be32();
        case STATUS -> status = attribute.be32();
        case PROTOCOL -> tcp(attribute.nested(inner), tcp);
        case COUNTERS_UP -> numbers(attribute.nested(inner), COUNTERS_PACKETS, COUNTERS_BYTES, up);
        case COUNTERS_DOWN ->
            numbers(attribute.nested(inner), COUNTERS_PACKETS, COUNTERS_BYTES, down);
        case TIMES -> numbers(attribute.nested(inner), TIMES_START, TIMES_STOP, times);
        default -> {} // the other direction, timeout and more
      }
    }
    if (flow.isEmpty()) {
      return Optional.empty();
    }
    return Optional.of(
        new ConntrackEntry(
            flow.get(),
            mark,
            tcp[PROTOCOL_TCP_STATE],
            (tcp[PROTOCOL_TCP_FLAGS] & LIBERAL) != 0,
            (status & TRANSLATED) != 0,
            up[0],
            up[1],
            down[0],
            down[1],
            times[0],
            times[1]));
  }

  /// The mark alone, without reading the rest.
  static int mark(NetlinkMessages message, Attributes attribute) {
    message.netfilterAttributes(attribute);
    while (attribute.next()) {
      if (attribute.type() == MARK) {
        return attribute.be32();
      }
    }
    return 0;
  }

  /// The first byte of each attribute, by its type.
  private static void tcp(Attributes protocol, int[] into) {
    Attributes inner = new Attributes();
    while (protocol.next()) {
      if (protocol.type() == PROTOCOL_TCP) {
        protocol.nested(inner);
        while (inner.next()) {
          if (inner.type() < into.length) {
            into[inner.type()] = inner.u8();
          }
        }
      }
    }
  }

  private static void numbers(Attributes from, int first, int second, long[] into) {
    while (from.next()) {
      if (from.type() == first) {
        into[0] = from.be64();
      } else if (from.type() == second) {
        into[1] = from.be64();
      }
    }
  }
}
