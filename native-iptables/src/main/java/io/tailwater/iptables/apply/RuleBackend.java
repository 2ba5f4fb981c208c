package io.tailwater.iptables.apply;

import java.util.List;

/// Who keeps the rules. What one keeps is invisible to the others, and all of it is in force.
public enum RuleBackend {
  /// iptables in front of nf_tables.
  IPTABLES_NFT("iptables-nft"),
  /// iptables on the kernel's old x_tables.
  IPTABLES_LEGACY("iptables-legacy"),
  /// nf_tables itself, without iptables: one transaction for everything.
  NFT("nft");

  private final String text;

  RuleBackend(String text) {
    this.text = text;
  }

  /// The values of the configuration, for messages: `iptables-nft, iptables-legacy, nft`.
  public static List<String> names() {
    return List.of(values()).stream().map(RuleBackend::toString).toList();
  }

  /// As in the agent's configuration: `iptables-nft`.
  @Override
  public String toString() {
    return text;
  }
}
