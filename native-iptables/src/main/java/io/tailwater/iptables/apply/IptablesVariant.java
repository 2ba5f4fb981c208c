package io.tailwater.iptables.apply;

/// The two implementations behind the name iptables. Rules of one are invisible to the other, and
/// both are in force.
public enum IptablesVariant {
  /// iptables in front of nf_tables.
  NFT("iptables-nft"),
  /// iptables on the kernel's old x_tables.
  LEGACY("iptables-legacy");

  private final String backend;

  IptablesVariant(String backend) {
    this.backend = backend;
  }

  /// As in the agent's configuration: `iptables-nft`.
  @Override
  public String toString() {
    return backend;
  }
}
