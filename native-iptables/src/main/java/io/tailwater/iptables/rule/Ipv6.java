package io.tailwater.iptables.rule;

/// What happens to IPv6 that leaves a pod.
public enum Ipv6 {
  /// TCP is redirected as for IPv4.
  CAPTURE,
  /// Everything but neighbour discovery is refused at once, so that clients fall back to IPv4: for
  /// pods that enforce a policy where IPv6 cannot be captured.
  REFUSE,
  /// No rule: IPv6 passes uncaptured.
  UNTOUCHED
}
