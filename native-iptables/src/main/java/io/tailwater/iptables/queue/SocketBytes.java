package io.tailwater.iptables.queue;

/// What a TCP socket has sent and received, exactly (`struct tcp_info` of `linux/tcp.h`).
///
/// @param flow with the socket's own end as its source
/// @param state of `net/tcp_states.h`, such as 1 ESTABLISHED, 6 TIME_WAIT, 7 CLOSE
/// @param acknowledged what the other side has acknowledged: payload, one for SYN, and one for FIN
///   once that is acknowledged
/// @param received payload that has come in order, and one for FIN
/// @param sent payload that has been sent, each byte counted once; [#UNKNOWN] before Linux 4.19
public record SocketBytes(FlowTuple flow, int state, long acknowledged, long received, long sent) {
  public static final long UNKNOWN = -1;

  /// Where they are in `struct tcp_info`: how often the timer has run out in vain (u8).
  static final int RETRANSMITS = 2;

  /// Since Linux 4.1.
  static final int ACKNOWLEDGED = 120;

  static final int RECEIVED = 128;
  static final int INFO_LENGTH = 136;

  /// Since Linux 4.19, with those that were sent again.
  static final int SENT = 200;

  static final int SENT_AGAIN = 208;
  static final int LONGER_INFO = 216;
}
