package io.tailwater.iptables.rule;

import java.util.ArrayList;
import java.util.List;
import java.util.function.BiPredicate;

/// What differs, as it is found. One thread.
final class Differences {
  private final List<String> missing = new ArrayList<>();
  private final List<String> changed = new ArrayList<>();

  void missing(String what) {
    missing.add(what);
  }

  void changed(String what) {
    changed.add(what);
  }

  /// Compares the rules of one chain: each, and their order.
  ///
  /// @param said how the expected rules are named to people, one for each
  void rules(
      String where,
      List<String> expected,
      List<String> said,
      List<String> present,
      BiPredicate<String, String> same) {
    // Which expected rule each present one is, or -1: matched one to one, in order of appearance.
    List<Integer> found = new ArrayList<>();
    for (String rule : present) {
      int at = -1;
      for (int i = 0; at < 0 && i < expected.size(); i++) {
        if (!found.contains(i) && same.test(expected.get(i), rule)) {
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
        missing.add(where + said.get(i));
      }
    }
    List<Integer> kept = found.stream().filter(at -> at >= 0).toList();
    if (!kept.equals(kept.stream().sorted().toList())) {
      changed.add(where + "the rules are in another order");
    }
  }

  /// @param hasOurs whether anything of ours is there at all
  Drift drift(boolean hasOurs) {
    if (!changed.isEmpty()) {
      List<String> all = new ArrayList<>(missing);
      all.addAll(changed);
      return new Drift.Changed(all);
    }
    if (missing.isEmpty()) {
      return new Drift.None();
    }
    return hasOurs ? new Drift.Missing(missing) : new Drift.NotInstalled();
  }
}
