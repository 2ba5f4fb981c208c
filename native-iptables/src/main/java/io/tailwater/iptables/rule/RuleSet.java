package io.tailwater.iptables.rule;

import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/// All our chains of one namespace in one family. Tables without chains are absent: whatever is
/// ours in them is to go.
///
/// @param sets what the rules ask with [Match.InSet]
public record RuleSet(IpFamily family, Map<Table, List<Chain>> tables, List<AddressSet> sets) {
  public RuleSet {
    Map<Table, List<Chain>> copy = new EnumMap<>(Table.class);
    tables.forEach((table, chains) -> {
      if (!chains.isEmpty()) {
        copy.put(table, List.copyOf(chains));
      }
    });
    tables = Collections.unmodifiableMap(copy);
    sets = List.copyOf(sets);
  }

  /// Rules that ask no set.
  public RuleSet(IpFamily family, Map<Table, List<Chain>> tables) {
    this(family, tables, List.of());
  }

  /// Nothing of ours at all.
  public static RuleSet none(IpFamily family) {
    return new RuleSet(family, Map.of());
  }

  public boolean isEmpty() {
    return tables.isEmpty();
  }

  /// The chains of one table, or none.
  public List<Chain> chains(Table table) {
    return tables.getOrDefault(table, List.of());
  }
}
