package io.tailwater.agent.cli;

import io.tailwater.iptables.apply.EgressGuard;
import io.tailwater.iptables.apply.InstallReport;
import io.tailwater.iptables.apply.Ipv6Block;
import io.tailwater.iptables.apply.OwnControlGroup;
import io.tailwater.iptables.apply.PolicyRoutes;
import io.tailwater.iptables.apply.Processes;
import io.tailwater.iptables.apply.RulesException;
import io.tailwater.iptables.apply.TrafficRules;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.Ipv6;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// The rules of one pod by hand, with what the agent puts beside them: the guard at the pod's
/// interfaces. Where there can be no guard the rules stand without, as with the agent, and that is
/// said. Platform threads.
final class PodRules {
  private final TrafficRules rules;
  private final EgressGuard guard = new EgressGuard(new Processes());

  PodRules(TrafficRules rules) {
    this.rules = rules;
  }

  /// What became of it.
  ///
  /// @param guard `on`, `removed`, or why there is none
  record Outcome(InstallReport report, String guard) {}

  /// @param guard why it cannot be looked at; empty when it could be
  record Difference(Drift drift, String guard) {}

  /// As scripts, with the reason over each rule.
  static String show(CapturePlan plan) {
    return EgressGuard.show(plan);
  }

  /// Why the agent's control group, which a plan asks for, cannot be named here; empty where there
  /// is no such need.
  Optional<String> groupOutOfSight(CapturePlan plan) {
    return plan.strictness()
        .cgroup()
        .flatMap(group -> OwnControlGroup.outOfSight(rules.programs().backend(), group));
  }

  /// Where the agent has found that there can be no rules for IPv6, they are not looked at.
  private TrafficRules rules(CapturePlan plan) {
    return plan.ipv6() == Ipv6.UNTOUCHED ? rules.withoutIpv6() : rules;
  }

  private static boolean blocksIpv6(CapturePlan plan) {
    return plan.ipv6() == Ipv6.UNTOUCHED && plan.strictness().closed();
  }

  Outcome apply(NetworkNamespace namespace, CapturePlan plan) {
    if (plan.inbound().isPresent()) {
      PolicyRoutes.INBOUND.install(namespace); // before the rules that need them
    }
    InstallReport report = rules(plan).install(namespace, plan);
    if (blocksIpv6(plan)) {
      Ipv6Block.install(namespace);
    }
    try {
      guard.install(namespace, plan);
      return new Outcome(report, "on");
    } catch (RulesException e) {
      return new Outcome(report, "off: " + e.getMessage());
    }
  }

  /// Against the plan that comes nearest.
  Difference verify(NetworkNamespace namespace, List<CapturePlan> plans) {
    CapturePlan plan = plans.getFirst();
    Drift drift = rules(plan).verify(namespace, plan);
    for (CapturePlan other : plans.subList(1, plans.size())) {
      Drift found = rules(other).verify(namespace, other);
      if (distance(found) < distance(drift)) {
        plan = other;
        drift = found;
      }
    }
    if (plan.inbound().isPresent()) {
      drift = with(drift, PolicyRoutes.INBOUND.verify(namespace));
    }
    if (blocksIpv6(plan) && !Ipv6Block.stands(namespace)) {
      drift = with(drift, List.of("IPv6 rule 1: prohibit is missing"));
    }
    try {
      return new Difference(with(drift, guard.differences(namespace, plan)), "");
    } catch (RulesException e) {
      return new Difference(drift, String.valueOf(e.getMessage()));
    }
  }

  private static int distance(Drift drift) {
    return drift instanceof Drift.NotInstalled ? Integer.MAX_VALUE : AgentPlans.lines(drift).size();
  }

  /// Rules that are there without their guard are incomplete; where there are none, there is
  /// nothing to guard.
  private static Drift with(Drift drift, List<String> more) {
    if (more.isEmpty()) {
      return drift;
    }
    return switch (drift) {
      case Drift.NotInstalled _ -> drift;
      case Drift.None _ -> new Drift.Missing(more);
      case Drift.Missing(List<String> lines) -> new Drift.Missing(both(lines, more));
      case Drift.Changed(List<String> lines) -> new Drift.Changed(both(lines, more));
    };
  }

  private static List<String> both(List<String> first, List<String> second) {
    List<String> all = new ArrayList<>(first);
    all.addAll(second);
    return all;
  }

  /// Also what only an agent leaves: its policy routes.
  Outcome remove(NetworkNamespace namespace) {
    InstallReport report = rules.remove(namespace);
    PolicyRoutes.INBOUND.remove(namespace);
    Ipv6Block.remove(namespace);
    try {
      guard.remove(namespace);
      return new Outcome(report, "removed");
    } catch (RulesException e) {
      return new Outcome(report, String.valueOf(e.getMessage()));
    }
  }
}
