package io.tailwater.iptables.rule;

import java.util.List;
import java.util.stream.Stream;

/// Everything that shall be ours in one namespace, both families: what a backend installs, compares
/// and shows.
///
/// @param marks whole marks in the rules that are another in each pod: rules that differ by them
///   alone are the same but for these numbers
public record NamespaceRules(RuleSet v4, RuleSet v6, List<Mark> marks) {
  public NamespaceRules {
    marks = List.copyOf(marks);
    if (v4.family() != IpFamily.V4 || v6.family() != IpFamily.V6) {
      throw new IllegalArgumentException("The rules of the two families are exchanged");
    }
  }

  /// Rules without marks of a pod's own.
  public NamespaceRules(RuleSet v4, RuleSet v6) {
    this(v4, v6, List.of());
  }

  /// The rules of a pod's namespace.
  public static NamespaceRules of(CapturePlan plan) {
    return new NamespaceRules(
        CaptureRules.of(plan, IpFamily.V4), CaptureRules.of(plan, IpFamily.V6), marks(plan));
  }

  private static List<Mark> marks(CapturePlan plan) {
    return Stream.of(
            Stream.of(plan.agent()),
            plan.strictness().joining().stream(),
            plan.strictness().former().stream())
        .flatMap(all -> all)
        .filter(Mark::isWhole)
        .toList();
  }

  /// The rules of the node's namespace.
  public static NamespaceRules of(NodePlan plan) {
    return new NamespaceRules(NodeRules.of(plan, IpFamily.V4), NodeRules.of(plan, IpFamily.V6));
  }

  public RuleSet family(IpFamily family) {
    return switch (family) {
      case V4 -> v4;
      case V6 -> v6;
    };
  }

  /// In the order of [IpFamily].
  public List<RuleSet> families() {
    return List.of(v4, v6);
  }

  /// The same without a rule for IPv6.
  public NamespaceRules withoutIpv6() {
    return only(IpFamily.V4);
  }

  /// The same without a rule for the other family.
  public NamespaceRules only(IpFamily family) {
    return switch (family) {
      case V4 -> new NamespaceRules(v4, RuleSet.none(IpFamily.V6), marks);
      case V6 -> new NamespaceRules(RuleSet.none(IpFamily.V4), v6, marks);
    };
  }

  public boolean isEmpty() {
    return v4.isEmpty() && v6.isEmpty();
  }
}
