package io.tailwater.iptables.rule;

import java.util.Locale;

/// Where in our nf_tables table a rule stands: there is one table for everything, so what iptables
/// says by table, chain and program is said by the chain's name there.
public record NftPlace(Table table, IpFamily family) {
  /// The name of one of our chains: `TAILWATER_OUTPUT` of nat is `nat-output-ipv4`.
  public String chain(String name) {
    String bare = Chain.isOurs(name) ? name.substring(Chain.PREFIX.length()) : name;
    return table + "-" + bare.toLowerCase(Locale.ROOT).replace('_', '-') + suffix(family);
  }

  static String suffix(IpFamily family) {
    return switch (family) {
      case V4 -> "-ipv4";
      case V6 -> "-ipv6";
    };
  }
}
