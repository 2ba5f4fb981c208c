package io.tailwater.iptables.rule;

/// Protocols that rules name, spelled as `iptables-save` prints them.
public enum IpProtocol {
  TCP("tcp", 6),
  UDP("udp", 17),
  ICMP("icmp", 1),
  ICMP6("ipv6-icmp", 58);

  private final String text;
  private final int number;

  IpProtocol(String text, int number) {
    this.text = text;
    this.number = number;
  }

  /// As IANA has assigned it.
  public int number() {
    return number;
  }

  @Override
  public String toString() {
    return text;
  }
}
