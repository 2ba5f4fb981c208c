package io.tailwater.iptables.rule;

/// A set that rules ask with [Match.InSet]. For nf_tables it stands in our table and comes with the
/// rules; for iptables it is an ipset of the same name, which must be there before them.
///
/// @param timeoutSeconds after which an element leaves by itself; 0: never
public record AddressSet(String name, Kind kind, int timeoutSeconds) {
  /// How long a dead agent is taken for a living one.
  public static final int ALIVE_SECONDS = 3;

  /// How the names of the sets begin that [#alive] gives.
  static final String ALIVE = "tailwater-alive-";

  /// What its elements are.
  public enum Kind {
    /// Addresses: `hash:ip`.
    ADDRESS,
    /// Addresses with ports: `hash:ip,port` (for nf_tables of any protocol).
    ADDRESS_AND_PORT,
    /// Addresses with ports, and who sends there: `hash:ip,port,ip` (for nf_tables of any
    /// protocol).
    ADDRESS_PORT_AND_SOURCE,
    /// Everything of its family or nothing: `hash:net` that holds both halves of all addresses; for
    /// nf_tables the family itself is the element.
    EVERYTHING
  }

  public AddressSet {
    Names.checkSet(name);
    if (timeoutSeconds < 0) {
      throw new IllegalArgumentException("A set's timeout is not negative");
    }
  }

  /// What says that an agent lives: its elements leave after [#ALIVE_SECONDS] unless it renews
  /// them.
  public static AddressSet alive(IpFamily family) {
    return new AddressSet(
        ALIVE + (family == IpFamily.V4 ? "v4" : "v6"), Kind.EVERYTHING, ALIVE_SECONDS);
  }

  /// What stands in braces after `add set inet TABLE NAME`.
  String nft(IpFamily family) {
    String address = family == IpFamily.V4 ? "ipv4_addr" : "ipv6_addr";
    String type =
        switch (kind) {
          case ADDRESS -> address;
          case ADDRESS_AND_PORT -> address + " . inet_service";
          case ADDRESS_PORT_AND_SOURCE -> address + " . inet_service . " + address;
          case EVERYTHING -> "nf_proto";
        };
    return "type "
        + type
        + " ;"
        + (timeoutSeconds > 0 ? " flags timeout ; timeout " + timeoutSeconds + "s ;" : "");
  }
}
