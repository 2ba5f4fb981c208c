package io.tailwater.iptables.rule;

/// A set that rules ask with [Match.InSet]. For nf_tables it stands in our table and comes with the
/// rules; for iptables it is an ipset of the same name, which must be there before them.
///
/// @param timeoutSeconds after which an element leaves by itself; 0: never
public record AddressSet(String name, Kind kind, int timeoutSeconds) {
  /// What its elements are.
  public enum Kind {
    /// Addresses: `hash:ip`.
    ADDRESS,
    /// Addresses with ports: `hash:ip,port` (for nf_tables of any protocol).
    ADDRESS_AND_PORT
  }

  public AddressSet {
    Names.checkSet(name);
    if (timeoutSeconds < 0) {
      throw new IllegalArgumentException("A set's timeout is not negative");
    }
  }

  /// What stands in braces after `add set inet TABLE NAME`.
  String nft(IpFamily family) {
    String type = family == IpFamily.V4 ? "ipv4_addr" : "ipv6_addr";
    return "type "
        + type
        + (kind == Kind.ADDRESS_AND_PORT ? " . inet_service" : "")
        + " ;"
        + (timeoutSeconds > 0 ? " flags timeout ; timeout " + timeoutSeconds + "s ;" : "");
  }
}
