package io.tailwater.iptables.rule;

import java.util.Optional;

/// What rules say in the log (NFLOG) of a packet: why it was refused. The words after the prefix
/// are the agent's reasons.
public enum Logged {
  UDP("udp"),
  IPV6("ipv6"),
  /// With a mark that is not the agent's, and refused.
  MARK("mark"),
  /// With such a mark, and captured as everything else is.
  MARK_CAPTURED("mark-captured"),
  ICMP("icmp"),
  PROTOCOL("protocol"),
  /// TCP that went round the redirection.
  UNCAPTURED("uncaptured"),
  /// From an address that is not the pod's, or from the interface of no known pod.
  UNKNOWN_SOURCE("unknown_source"),
  /// A frame that a packet socket sent past all rules.
  PACKET_SOCKET("packet_socket"),
  /// DNS of a pod that asks far more than is answered.
  DNS_FLOOD("dns_flood");

  /// Lines per rule: more than a thousand a minute, so that a guesser shows.
  public static final int PER_SECOND = 50;

  public static final int AT_ONCE = 100;

  /// Of a packet: enough for all headers.
  public static final int BYTES = 256;

  private static final String PREFIX = "tailwater:";

  private final String word;

  Logged(String word) {
    this.word = word;
  }

  /// As the rule carries it: `tailwater:udp`.
  public String prefix() {
    return PREFIX + word;
  }

  /// What a prefix says; empty where it is not one of ours.
  public static Optional<Logged> of(String prefix) {
    for (Logged one : values()) {
      if (prefix.equals(one.prefix())) {
        return Optional.of(one);
      }
    }
    return Optional.empty();
  }
}
