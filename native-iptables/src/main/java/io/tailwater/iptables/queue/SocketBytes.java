package io.tailwater.iptables.queue;

/// What a TCP socket has sent and received, exactly (`struct tcp_info` of `linux/tcp.h`).
///
/// @param flow with the socket's own end as its source
/// @param state of `net/tcp_states.h`, such as 1 ESTABLISHED, 6 TIME_WAIT, 7 CLOSE
/// @param acknowledged what the other side has acknowledged: payload, one for SYN, and one for FIN
///   once that is acknowledged
/// @param received payload that has come in order, and one for FIN
public record SocketBytes(FlowTuple flow, int state, long acknowledged, long received) {
  /// Where they are in `struct tcp_info`, since Linux 4.1.
  static final int ACKNOWLEDGED = 120;

  static final int RECEIVED = 128;
  static final int INFO_LENGTH = 136;
}
