package io.tailwater.iptables.rule;

/// What becomes of TCP connections that were open before the rules came. A namespace where nothing
/// used connection tracking before has no record of them: to nat, their next packet looks like the
/// first of a new connection.
public enum EarlierConnections {
  /// They go on as they were, uncaptured, until they close: only a SYN is redirected.
  SPARED,
  /// Their next packet is redirected too; the listener knows no such connection and resets it. For
  /// pods that enforce a policy. To rules without a kernel pass a connection whose next packet
  /// comes from the other side is one that began there, and goes on: who installs them ends it at
  /// its socket.
  CUT
}
