package io.tailwater.iptables.rule;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/// How the rules that are there differ from those that shall be there, in one or both families.
/// Each line names the family, table and chain.
public sealed interface Drift {
  /// Exactly as wanted.
  record None() implements Drift {}

  /// Not one chain or jump of ours.
  record NotInstalled() implements Drift {}

  /// Some chains, jumps or rules are gone; those that are there are as wanted.
  record Missing(List<String> what) implements Drift {
    public Missing {
      what = List.copyOf(what);
    }
  }

  /// Something is there that should not be, or not like that; what is missing besides is also
  /// listed.
  record Changed(List<String> what) implements Drift {
    public Changed {
      what = List.copyOf(what);
    }
  }

  /// Compares one family of iptables.
  static Drift between(RuleSet wanted, SavedRules current) {
    Differences differences = new Differences();
    for (Table table : Table.values()) {
      compare(
          wanted.family() + " " + table + " ",
          wanted.chains(table),
          current.table(table),
          differences);
    }
    return differences.drift(current.hasOurs());
  }

  /// Compares one family of native nf_tables.
  ///
  /// @param expected the wanted rules of both families as `nft` tells them back
  static Drift between(RuleSet wanted, NftTable expected, NftTable current) {
    Differences differences = new Differences();
    IpFamily family = wanted.family();
    for (Table table : Table.values()) {
      NftPlace place = new NftPlace(table, family);
      for (Chain chain : wanted.chains(table)) {
        compare(chain, place, expected, current, differences);
      }
    }
    current.chains().keySet().stream()
        .filter(name -> !expected.chains().containsKey(name))
        .filter(name -> name.endsWith(NftPlace.suffix(family)) || !NftTable.isOfAFamily(name))
        .forEach(
            name -> differences.changed(family + " " + name + ": the chain should not be there"));
    if (!current.flags().isEmpty() && !wanted.isEmpty()) {
      differences.changed(family + " table " + NftScript.TABLE + ": it is " + current.flags());
    }
    return differences.drift(current.has(family));
  }

  private static void compare(
      Chain chain, NftPlace place, NftTable expected, NftTable current, Differences differences) {
    String name = place.chain(chain.name());
    String where = place.family() + " " + name + ": ";
    NftTable.NftChain wanted = expected.chains().get(name);
    NftTable.NftChain present = current.chains().get(name);
    if (wanted == null) {
      throw new IllegalStateException("nft did not tell of the chain " + name + " it was given");
    }
    if (present == null) {
      differences.missing(where + "the chain");
      return;
    }
    if (!present.hook().equals(wanted.hook())) {
      differences.changed(
          where + "it hangs at " + present.hook().map(Object::toString).orElse("no hook"));
    }
    if (!present.rules().equals(wanted.rules())) {
      differences.rules(
          where, wanted.rules(), NftScript.said(chain, place), present.rules(), String::equals);
    }
  }

  /// The families of one namespace together: not installed only if no one is.
  static Drift together(Map<IpFamily, Drift> families) {
    List<String> what = new ArrayList<>();
    families.forEach((family, drift) -> what.addAll(drift.lines(family)));
    if (what.isEmpty()) {
      return new None();
    }
    if (families.values().stream().allMatch(NotInstalled.class::isInstance)) {
      return new NotInstalled();
    }
    return families.values().stream().anyMatch(Changed.class::isInstance)
        ? new Changed(what)
        : new Missing(what);
  }

  private List<String> lines(IpFamily family) {
    return switch (this) {
      case None() -> List.of();
      case NotInstalled() -> List.of(family + ": no rule of ours is installed");
      case Missing(List<String> what) -> what;
      case Changed(List<String> what) -> what;
    };
  }

  /// Whether a chain is exactly as wanted, and its jump too.
  static boolean isAsWanted(Chain chain, SavedRules.SavedTable saved) {
    List<String> hook = saved.rules(chain.hook());
    boolean reached =
        !chain.isHooked()
            || (!hook.isEmpty()
                && RuleText.same(hook.getFirst(), chain.jump())
                && hook.stream().filter(rule -> RuleText.same(rule, chain.jump())).count() == 1);
    return reached
        && saved.chains().containsKey(chain.name())
        && sameRules(chain.rules().stream().map(Rule::text).toList(), saved.rules(chain.name()));
  }

  private static void compare(
      String where, List<Chain> wanted, SavedRules.SavedTable saved, Differences differences) {
    for (Chain chain : wanted) {
      if (chain.isHooked()) {
        jump(where, chain, saved, differences);
      }
      if (!saved.chains().containsKey(chain.name())) {
        differences.missing(where + chain.name() + ": the chain");
        continue;
      }
      List<String> expected = chain.rules().stream().map(Rule::text).toList();
      List<String> present = saved.rules(chain.name());
      if (!sameRules(expected, present)) {
        differences.rules(where + chain.name() + ": ", expected, expected, present, RuleText::same);
      }
    }
    List<String> names = wanted.stream().map(Chain::name).toList();
    for (String chain : saved.ours()) {
      if (!names.contains(chain)) {
        differences.changed(where + chain + ": the chain should not be there");
      }
    }
  }

  private static void jump(
      String where, Chain chain, SavedRules.SavedTable saved, Differences differences) {
    List<String> hook = saved.rules(chain.hook());
    long jumps = hook.stream().filter(rule -> RuleText.same(rule, chain.jump())).count();
    if (jumps == 0) {
      differences.missing(where + chain.hook() + ": " + chain.jump());
    } else if (jumps > 1) {
      differences.changed(
          where + chain.hook() + ": " + chain.jump() + " is there " + jumps + " times");
    } else if (!RuleText.same(hook.get(0), chain.jump())) {
      differences.changed(
          where + chain.hook() + ": ahead of " + chain.jump() + " is: " + hook.get(0));
    }
  }

  private static boolean sameRules(List<String> left, List<String> right) {
    if (left.size() != right.size()) {
      return false;
    }
    for (int i = 0; i < left.size(); i++) {
      if (!RuleText.same(left.get(i), right.get(i))) {
        return false;
      }
    }
    return true;
  }
}
