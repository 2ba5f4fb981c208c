package io.tailwater.iptables.rule;

/// Which UDP that leaves a pod is refused, with ICMP port unreachable, so that clients fall back to
/// TCP.
public enum UdpPolicy {
  /// None.
  OFF,
  /// Port 443 (QUIC, HTTP/3).
  QUIC,
  /// All but DNS (port 53).
  ALL
}
