package io.tailwater.iptables.rule;

/// For tests outside of this package: whether two texts say the same rule.
public final class Printed {
  private Printed() {}

  public static boolean same(String left, String right) {
    return RuleText.same(left, right);
  }
}
