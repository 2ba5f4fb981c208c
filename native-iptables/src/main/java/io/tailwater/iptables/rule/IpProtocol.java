package io.tailwater.iptables.rule;

/// Protocols that rules name, spelled as `iptables-save` prints them.
public enum IpProtocol {
  TCP("tcp"),
  UDP("udp"),
  ICMP("icmp"),
  ICMP6("ipv6-icmp");

  private final String text;

  IpProtocol(String text) {
    this.text = text;
  }

  @Override
  public String toString() {
    return text;
  }
}
