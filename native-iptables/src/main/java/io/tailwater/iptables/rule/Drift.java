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

  /// Compares one family.
  static Drift between(RuleSet wanted, SavedRules current) {
    List<String> missing = new ArrayList<>();
    List<String> changed = new ArrayList<>();
    for (Table table : Table.values()) {
      compare(
          wanted.family() + " " + table + " ",
          wanted.chains(table),
          current.table(table),
          missing,
          changed);
    }
    if (!changed.isEmpty()) {
      missing.addAll(changed);
      return new Changed(missing);
    }
    if (missing.isEmpty()) {
      return new None();
    }
    return current.hasOurs() ? new Missing(missing) : new NotInstalled();
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
      String where,
      List<Chain> wanted,
      SavedRules.SavedTable saved,
      List<String> missing,
      List<String> changed) {
    for (Chain chain : wanted) {
      if (chain.isHooked()) {
        jump(where, chain, saved, missing, changed);
      }
      if (!saved.chains().containsKey(chain.name())) {
        missing.add(where + chain.name() + ": the chain");
        continue;
      }
      List<String> expected = chain.rules().stream().map(Rule::text).toList();
      List<String> present = saved.rules(chain.name());
      if (!sameRules(expected, present)) {
        rules(where + chain.name() + ": ", expected, present, missing, changed);
      }
    }
    List<String> names = wanted.stream().map(Chain::name).toList();
    for (String chain : saved.ours()) {
      if (!names.contains(chain)) {
        changed.add(where + chain + ": the chain should not be there");
      }
    }
  }

  private static void jump(
      String where,
      Chain chain,
      SavedRules.SavedTable saved,
      List<String> missing,
      List<String> changed) {
    List<String> hook = saved.rules(chain.hook());
    long jumps = hook.stream().filter(rule -> RuleText.same(rule, chain.jump())).count();
    if (jumps == 0) {
      missing.add(where + chain.hook() + ": " + chain.jump());
    } else if (jumps > 1) {
      changed.add(where + chain.hook() + ": " + chain.jump() + " is there " + jumps + " times");
    } else if (!RuleText.same(hook.get(0), chain.jump())) {
      changed.add(where + chain.hook() + ": ahead of " + chain.jump() + " is: " + hook.get(0));
    }
  }

  private static void rules(
      String where,
      List<String> expected,
      List<String> present,
      List<String> missing,
      List<String> changed) {
    // Which expected rule each present one is, or -1: matched one to one, in order of appearance.
    List<Integer> found = new ArrayList<>();
    for (String rule : present) {
      int at = -1;
      for (int i = 0; at < 0 && i < expected.size(); i++) {
        if (!found.contains(i) && RuleText.same(expected.get(i), rule)) {
          at = i;
        }
      }
      found.add(at);
      if (at < 0) {
        changed.add(where + "should not be there: " + rule);
      }
    }
    for (int i = 0; i < expected.size(); i++) {
      if (!found.contains(i)) {
        missing.add(where + expected.get(i));
      }
    }
    List<Integer> kept = found.stream().filter(at -> at >= 0).toList();
    if (!kept.equals(kept.stream().sorted().toList())) {
      changed.add(where + "the rules are in another order");
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
