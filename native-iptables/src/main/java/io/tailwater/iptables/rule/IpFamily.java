package io.tailwater.iptables.rule;

/// IPv4 or IPv6: two sets of tables, two programs, one plan.
public enum IpFamily {
  V4("IPv4"),
  V6("IPv6");

  private final String label;

  IpFamily(String label) {
    this.label = label;
  }

  /// All addresses that never leave the namespace by definition.
  public Cidr loopback() {
    return switch (this) {
      case V4 -> Cidr.of("127.0.0.0/8");
      case V6 -> Cidr.of("::1/128");
    };
  }

  /// The one address that REDIRECT of a locally made packet sends to.
  public Cidr localhost() {
    return switch (this) {
      case V4 -> Cidr.of("127.0.0.1/32");
      case V6 -> Cidr.of("::1/128");
    };
  }

  /// The protocol as nf_tables expressions name it: `ip daddr`, `ip6 daddr`.
  public String nft() {
    return switch (this) {
      case V4 -> "ip";
      case V6 -> "ip6";
    };
  }

  /// For people: `IPv4`.
  @Override
  public String toString() {
    return label;
  }
}
