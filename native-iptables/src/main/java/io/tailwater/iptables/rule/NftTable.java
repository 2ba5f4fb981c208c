package io.tailwater.iptables.rule;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// What `nft` said of our table. Rules are texts that are equal when the rules are: nf_tables
/// rewrites what it is given, so a rule is only ever compared with one that it has told.
///
/// @param exists whether there is such a table at all
/// @param flags of the table; ours has none
/// @param sets their names
public record NftTable(
    boolean exists, List<String> flags, Map<String, NftChain> chains, List<String> sets) {
  /// No such table.
  public static final NftTable ABSENT = new NftTable(false, List.of(), Map.of(), List.of());

  /// A chain and its rules in order.
  ///
  /// @param hook empty for a chain that only others jump to
  public record NftChain(Optional<NftHook> hook, List<String> rules) {
    public NftChain {
      rules = List.copyOf(rules);
    }
  }

  /// Where a base chain hangs.
  public record NftHook(String type, String hook, int priority, String policy) {
    /// As `nft` reads and prints it.
    @Override
    public String toString() {
      return "type "
          + type
          + " hook "
          + hook
          + " priority "
          + priority
          + " ; policy "
          + policy
          + " ;";
    }
  }

  public NftTable {
    flags = List.copyOf(flags);
    sets = List.copyOf(sets);
    chains = Collections.unmodifiableMap(new LinkedHashMap<>(chains));
  }

  /// Whether there is a chain of ours of that family.
  public boolean has(IpFamily family) {
    return chains.keySet().stream().anyMatch(name -> name.endsWith(NftPlace.suffix(family)));
  }

  /// Whether a chain's name says to which family it belongs, as those of all of ours do.
  static boolean isOfAFamily(String chain) {
    return chain.endsWith(NftPlace.suffix(IpFamily.V4))
        || chain.endsWith(NftPlace.suffix(IpFamily.V6));
  }
}
