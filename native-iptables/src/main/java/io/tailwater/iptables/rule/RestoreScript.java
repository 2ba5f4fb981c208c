package io.tailwater.iptables.rule;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/// The input of `iptables-restore --noflush` that leads from what is there to what shall be there,
/// in one transaction per table. What is as wanted already is left alone.
///
/// Applying it twice is the same as once: a line `:CHAIN - [0:0]` makes our chain or empties it,
/// jumps that are there are deleted in the same transaction in which ours is put first. Rules of
/// others are not touched. The script is right only for the state that it was made from: a `-D` of
/// a jump that has gone meanwhile fails the whole table and changes nothing, so read again and try
/// again.
public record RestoreScript(IpFamily family, String text) {
  /// Whether nothing is to be done.
  public boolean isEmpty() {
    return text.isEmpty();
  }

  /// From `current` to the wanted chains: those are rewritten, chains of ours that are not wanted
  /// any more go.
  public static RestoreScript install(RuleSet wanted, SavedRules current) {
    StringBuilder text = new StringBuilder();
    for (Table table : Table.values()) {
      List<String> lines = new ArrayList<>();
      SavedRules.SavedTable saved = current.table(table);
      List<Chain> chains =
          wanted.chains(table).stream().filter(chain -> !Drift.isAsWanted(chain, saved)).toList();
      for (Chain chain : chains) {
        lines.add(":" + chain.name() + " - [0:0]");
      }
      List<Chain> right = new ArrayList<>(wanted.chains(table));
      right.removeAll(chains);
      lines.addAll(deletedJumps(saved, right));
      for (Chain chain : chains) {
        if (chain.isHooked()) {
          lines.add("-I " + chain.hook() + " 1 " + chain.jump());
        }
        for (Rule rule : chain.rules()) {
          lines.add("# " + rule.why());
          lines.add("-A " + chain.name() + " " + rule.text());
        }
      }
      List<String> unwanted = new ArrayList<>(saved.ours());
      unwanted.removeAll(wanted.chains(table).stream().map(Chain::name).toList());
      lines.addAll(deletedChains(unwanted));
      append(text, table, lines);
    }
    return new RestoreScript(wanted.family(), text.toString());
  }

  /// From nothing: what is shown to people.
  public static RestoreScript fresh(RuleSet wanted) {
    return install(wanted, SavedRules.EMPTY);
  }

  /// Takes away our chains and every jump to them.
  ///
  /// @param emptyHooks also delete a built-in chain that is empty then: only nf_tables knows that,
  ///   and makes it again when needed
  public static RestoreScript removal(IpFamily family, SavedRules current, boolean emptyHooks) {
    StringBuilder text = new StringBuilder();
    List<Table> backwards = new ArrayList<>(List.of(Table.values()));
    Collections.reverse(backwards);
    for (Table table : backwards) {
      SavedRules.SavedTable saved = current.table(table);
      List<String> lines = new ArrayList<>(deletedJumps(saved, List.of()));
      lines.addAll(deletedChains(saved.ours()));
      if (emptyHooks && !lines.isEmpty()) {
        saved
            .chains()
            .forEach((chain, rules) -> {
              boolean onlyOurs =
                  !rules.isEmpty() && rules.stream().allMatch(RestoreScript::goesToOurs);
              if (onlyOurs && "ACCEPT".equals(saved.policies().get(chain))) {
                lines.add("-X " + chain);
              }
            });
      }
      append(text, table, lines);
    }
    return new RestoreScript(family, text.toString());
  }

  /// Every jump from a built-in chain to one of ours, but those to chains that are `right`.
  private static List<String> deletedJumps(SavedRules.SavedTable saved, List<Chain> right) {
    List<String> lines = new ArrayList<>();
    saved
        .chains()
        .forEach((chain, rules) -> {
          if (!Chain.isOurs(chain)) {
            rules.stream()
                .filter(RestoreScript::goesToOurs)
                .filter(rule ->
                    right.stream()
                        .noneMatch(
                            ours -> ours.hook().equals(chain) && RuleText.same(rule, ours.jump())))
                .forEach(rule -> lines.add("-D " + chain + " " + rule));
          }
        });
    return lines;
  }

  private static List<String> deletedChains(List<String> chains) {
    List<String> lines = new ArrayList<>();
    chains.forEach(chain -> lines.add("-F " + chain));
    chains.forEach(chain -> lines.add("-X " + chain));
    return lines;
  }

  private static boolean goesToOurs(String rule) {
    return RuleText.jumpTarget(rule).filter(Chain::isOurs).isPresent();
  }

  private static void append(StringBuilder text, Table table, List<String> lines) {
    if (!lines.isEmpty()) {
      text.append('*').append(table).append('\n');
      lines.forEach(line -> text.append(line).append('\n'));
      text.append("COMMIT\n");
    }
  }
}
