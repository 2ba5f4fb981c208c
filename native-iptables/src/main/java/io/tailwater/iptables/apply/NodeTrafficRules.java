package io.tailwater.iptables.apply;

import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.NamespaceRules;
import io.tailwater.iptables.rule.NodePlan;
import io.tailwater.iptables.rule.StandingPods.StandingPod;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// The rules of the node's namespace with what stands beside them: the policy routes
/// ([PolicyRoutes#NODE]) and, where rules for IPv6 cannot be had, what blocks it there
/// ([NodeIpv6Block]). IPv4 is captured in any case.
///
/// Threads as for [TrafficRules].
public final class NodeTrafficRules {
  private static final List<IpFamily> IPV4 = List.of(IpFamily.V4);

  private final TrafficRules rules;
  private final TrafficRules rulesOfIpv4;

  public NodeTrafficRules(TrafficRules rules) {
    this.rules = rules;
    this.rulesOfIpv4 = rules.withoutIpv6();
  }

  /// What was installed.
  ///
  /// @param ipv6Lacks why IPv6 is blocked instead of captured; empty where it is captured, or there
  ///   is none
  public record Installed(InstallReport report, Optional<String> ipv6Lacks) {}

  /// What stands there.
  ///
  /// @param beside what is missing of policy routes and of what blocks IPv6
  /// @param ipv6Lacks why rules of IPv6 could not be looked at, or empty
  public record Standing(Drift drift, List<String> beside, Optional<String> ipv6Lacks) {
    /// Whether all is as planned, as far as it can be here.
    public boolean isWhole() {
      return drift instanceof Drift.None && beside.isEmpty();
    }
  }

  /// Brings the rules of both families into force, or those of IPv4 and a block.
  ///
  /// @throws RulesException as [TrafficRules#install]; of IPv6 where it can be neither captured nor
  ///   blocked: IPv4 is captured then
  public Installed install(NetworkNamespace node, NodePlan plan) {
    try {
      return new Installed(installBoth(node, plan), Optional.empty());
    } catch (RulesException e) {
      if (!isOfIpv6(e)) {
        throw e;
      }
      return new Installed(installWithoutIpv6(node, plan), Optional.of(message(e)));
    }
  }

  /// Both families or nothing new.
  ///
  /// @throws RulesException as [TrafficRules#install]
  public InstallReport installBoth(NetworkNamespace node, NodePlan plan) {
    PolicyRoutes.NODE.install(node); // before the rules that mark for it
    InstallReport report = rules.install(node, NamespaceRules.of(plan));
    NodeIpv6Block.remove(node); // there may have been reason for it
    return report;
  }

  /// Whether there can be rules of IPv6 at all, as plain as capture can do with: tried where nobody
  /// is.
  public boolean takesIpv6() {
    NodePlan.Pod nobody = new NodePlan.Pod(List.of("veth0"), List.of(), CapturePlan.egress());
    NodePlan plain = new NodePlan(List.of(nobody), List.of(), Optional.empty());
    try (NetworkNamespace passing = NetworkNamespace.fresh()) {
      rules.install(passing, NamespaceRules.of(plain));
      return true;
    } catch (RulesException | SyscallException e) {
      return false;
    }
  }

  private InstallReport installWithoutIpv6(NetworkNamespace node, NodePlan plan) {
    Optional<RulesException> unblocked = Optional.empty();
    try {
      NodeIpv6Block.install(node, plan);
    } catch (RulesException e) {
      unblocked = Optional.of(e);
    }
    PolicyRoutes.NODE.install(node, IPV4);
    InstallReport report = rulesOfIpv4.install(node, NamespaceRules.of(plan).withoutIpv6());
    if (unblocked.isPresent()) {
      throw unblocked.get();
    }
    return report;
  }

  /// Compares what stands with what shall. Changes nothing.
  public Standing verify(NetworkNamespace node, NodePlan plan) {
    try {
      Drift drift = rules.verify(node, NamespaceRules.of(plan));
      return new Standing(drift, PolicyRoutes.NODE.verify(node), Optional.empty());
    } catch (RulesException e) {
      if (!isOfIpv6(e)) {
        throw e;
      }
      List<String> beside = new ArrayList<>(PolicyRoutes.NODE.verify(node, IPV4));
      beside.addAll(NodeIpv6Block.verify(node, plan));
      return new Standing(
          rulesOfIpv4.verify(node, NamespaceRules.of(plan).withoutIpv6()),
          beside,
          Optional.of(message(e)));
    }
  }

  /// The pods whose rules stand there; of IPv4 alone where those of IPv6 cannot be read.
  ///
  /// @throws RulesException where none can be read
  public List<StandingPod> pods(NetworkNamespace node) {
    try {
      return rules.podsOnNode(node);
    } catch (RulesException e) {
      if (!isOfIpv6(e)) {
        throw e;
      }
      return rulesOfIpv4.podsOnNode(node);
    }
  }

  /// Takes rules, routes and block away; what fails does not keep the rest from it.
  ///
  /// @throws RulesException where something is left
  public InstallReport remove(NetworkNamespace node) {
    try {
      return removeRules(node);
    } finally {
      removeRoutes(node);
    }
  }

  /// Takes rules and block away. By the routes, which stay, what a [NodeHold] marks still comes to
  /// the agent.
  ///
  /// @throws RulesException where something is left
  public InstallReport removeRules(NetworkNamespace node) {
    try {
      return rules.remove(node);
    } finally {
      NodeIpv6Block.remove(node);
    }
  }

  /// Takes the routes away.
  ///
  /// @throws RulesException where something is left
  public void removeRoutes(NetworkNamespace node) {
    PolicyRoutes.NODE.remove(node);
  }

  private static boolean isOfIpv6(RulesException e) {
    return e.family().filter(IpFamily.V6::equals).isPresent();
  }

  private static String message(RulesException e) {
    return String.valueOf(e.getMessage());
  }
}
