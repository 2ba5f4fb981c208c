package io.tailwater.iptables.rule;

import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/// What `iptables-save` printed, as far as it concerns the four tables that we write to. The rules
/// keep their text.
public record SavedRules(Map<Table, SavedTable> tables) {
  /// Nothing anywhere.
  public static final SavedRules EMPTY = new SavedRules(Map.of());

  /// One table: its chains in order of appearance with the arguments of their rules (what follows
  /// `-A CHAIN`), and the policies of the built-in ones.
  public record SavedTable(Map<String, List<String>> chains, Map<String, String> policies) {
    public SavedTable {
      Map<String, List<String>> copy = new LinkedHashMap<>();
      chains.forEach((name, rules) -> copy.put(name, List.copyOf(rules)));
      chains = Collections.unmodifiableMap(copy);
      policies = Map.copyOf(policies);
    }

    /// The rules of a chain; none when it does not exist.
    public List<String> rules(String chain) {
      return chains.getOrDefault(chain, List.of());
    }

    /// Our chains in this table.
    public List<String> ours() {
      return chains.keySet().stream().filter(Chain::isOurs).toList();
    }
  }

  private static final SavedTable NO_TABLE = new SavedTable(Map.of(), Map.of());

  public SavedRules {
    tables =
        Collections.unmodifiableMap(
            tables.isEmpty() ? new EnumMap<>(Table.class) : new EnumMap<>(tables));
  }

  /// Reads the output of `iptables-save`. Comments and tables that we never write to are skipped.
  ///
  /// @throws IllegalArgumentException for text that is not such output
  public static SavedRules parse(String text) {
    Map<Table, SavedTable> tables = new EnumMap<>(Table.class);
    Map<String, List<String>> chains = new LinkedHashMap<>();
    Map<String, String> policies = new LinkedHashMap<>();
    String table = "";
    int number = 0;
    for (String line : text.lines().toList()) {
      number++;
      if (line.isBlank() || line.startsWith("#")) {
        continue;
      }
      if (line.startsWith("*")) {
        table = line.substring(1).strip();
        chains.clear();
        policies.clear();
      } else if (table.isEmpty()) {
        throw unreadable(number, line);
      } else if (line.startsWith(":")) {
        String[] words = line.substring(1).split(" ", -1);
        if (words.length < 2) {
          throw unreadable(number, line);
        }
        chains.putIfAbsent(words[0], new ArrayList<>());
        if (!words[1].equals("-")) {
          policies.put(words[0], words[1]);
        }
      } else if (line.startsWith("-A ")) {
        int end = line.indexOf(' ', 3);
        String chain = end < 0 ? line.substring(3) : line.substring(3, end);
        chains
            .computeIfAbsent(chain, name -> new ArrayList<>())
            .add(end < 0 ? "" : line.substring(end + 1));
      } else if (line.strip().equals("COMMIT")) {
        for (Table known : Table.values()) {
          if (known.toString().equals(table.toLowerCase(Locale.ROOT))) {
            tables.put(known, new SavedTable(chains, policies));
          }
        }
        table = "";
      } else {
        throw unreadable(number, line);
      }
    }
    if (!table.isEmpty()) {
      throw new IllegalArgumentException(
          "Table " + table + " ends without COMMIT: the output is cut off");
    }
    return new SavedRules(tables);
  }

  public SavedTable table(Table table) {
    return tables.getOrDefault(table, NO_TABLE);
  }

  /// Whether there is any chain of ours, or a jump to one.
  public boolean hasOurs() {
    return tables.values().stream()
        .anyMatch(table ->
            !table.ours().isEmpty()
                || table.chains().values().stream()
                    .flatMap(List::stream)
                    .anyMatch(rule -> RuleText.jumpTarget(rule).filter(Chain::isOurs).isPresent()));
  }

  /// Whether there is any rule at all; chains alone do not count.
  public boolean hasRules() {
    return tables.values().stream()
        .flatMap(table -> table.chains().values().stream())
        .anyMatch(rules -> !rules.isEmpty());
  }

  private static IllegalArgumentException unreadable(int number, String line) {
    return new IllegalArgumentException(
        "Line " + number + " of the saved rules is not understood: " + line);
  }
}
