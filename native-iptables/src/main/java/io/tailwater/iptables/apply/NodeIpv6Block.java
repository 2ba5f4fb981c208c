package io.tailwater.iptables.apply;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.Interfaces;
import io.tailwater.iptables.netlink.Interfaces.Interface;
import io.tailwater.iptables.netlink.Ipv6PolicyRules;
import io.tailwater.iptables.netlink.Ipv6PolicyRules.Action;
import io.tailwater.iptables.netlink.Ipv6PolicyRules.PolicyRule;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.NodePlan;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/// The last resort on the node where rules for IPv6 cannot be had, such as iptables without
/// ip6tables: policy routing rules that prohibit what comes from the interfaces of closed pods and
/// of strangers. No program is needed. What stays is ICMPv6 to the node itself, without which no
/// neighbour is ever found.
///
/// ```
/// 0:  from all ipproto ipv6-icmp lookup local   # proto 133, like all that follow but `local`
/// 0:  from all iif veth1 prohibit
/// 0:  from all lookup local
/// 1:  from all iif eth0 goto 3                  # only where strangers are refused: every
/// 2:  from all prohibit                         # interface that is there and is no stranger's
/// 3:  from all nop
/// ```
///
/// The first rules have to come before the kernel's own `local`, or else the node's addresses could
/// be reached. So a second `local` is added behind them and the first taken away: there is no
/// moment without one. A rule names an interface, never a pattern, so what strangers come with
/// later is prohibited with everything that is not spared: it may reach the node's own addresses
/// until its name is known.
///
/// On a platform thread, one at a time.
public final class NodeIpv6Block {
  /// Who has made a rule (FRA_PROTOCOL): by this ours are known.
  public static final int MADE_BY = 133;

  private static final int BEFORE_LOCAL = 0;
  private static final int SPARED = 1;
  private static final int OTHERS = 2;
  private static final int BEHIND = 3;

  private static final int ICMP6 = 58;
  private static final int ATTEMPTS = 3;

  private static final PolicyRule NEIGHBOURS =
      new PolicyRule(
          BEFORE_LOCAL, Action.LOOK_UP, "", ICMP6, Ipv6PolicyRules.LOCAL_TABLE, MADE_BY, false);
  private static final PolicyRule THE_OTHERS = rule(OTHERS, Action.PROHIBIT, "", 0);
  private static final PolicyRule HERE = rule(BEHIND, Action.NOTHING, "", 0);

  private NodeIpv6Block() {}

  private static PolicyRule rule(int preference, Action action, String incoming, int target) {
    return new PolicyRule(preference, action, incoming, 0, target, MADE_BY, false);
  }

  /// Blocks what closed pods and strangers of the plan send over IPv6, and nothing else any more.
  ///
  /// @throws RulesException when it cannot be blocked: IPv6 is open then
  public static void install(NetworkNamespace node, NodePlan plan) {
    try (Ipv6PolicyRules rules = Ipv6PolicyRules.open(node)) {
      for (int attempt = 1; ; attempt++) {
        List<PolicyRule> wanted = wanted(plan, names(node));
        List<PolicyRule> now = rules.list();
        if (differences(wanted, now).isEmpty()) {
          return;
        }
        if (attempt > ATTEMPTS) {
          throw failure(node, "somebody changes its policy rules: " + differences(wanted, now));
        }
        bring(rules, wanted, now);
      }
    } catch (SyscallException e) {
      throw failure(node, e.getMessage());
    }
  }

  private static RulesException failure(NetworkNamespace node, String why) {
    return new RulesException(
        IpFamily.V6,
        node.path()
            + ": IPv6 of closed pods can be neither captured nor blocked by policy rules: "
            + why
            + ". What they send over IPv6 PASSES. Install ip6tables or nft, or a kernel with"
            + " CONFIG_IPV6_MULTIPLE_TABLES, or switch IPv6 off in the pods"
            + " (net.ipv6.conf.all.disable_ipv6)");
  }

  /// How the rules differ that stand there, a line for each; empty where they do not.
  public static List<String> verify(NetworkNamespace node, NodePlan plan) {
    try (Ipv6PolicyRules rules = Ipv6PolicyRules.open(node)) {
      return differences(wanted(plan, names(node)), rules.list());
    } catch (SyscallException e) {
      return List.of("IPv6 cannot be blocked: " + e.getMessage());
    }
  }

  /// Takes everything of ours away, whatever plan it came from. Whether there was anything.
  ///
  /// @throws RulesException when it cannot be taken away
  public static boolean remove(NetworkNamespace node) {
    try (Ipv6PolicyRules rules = Ipv6PolicyRules.open(node)) {
      List<PolicyRule> ours = rules.list().stream().filter(NodeIpv6Block::isOurs).toList();
      takeAway(rules, ours);
      return !ours.isEmpty();
    } catch (SyscallException e) {
      if (e.errno() == Errno.EAFNOSUPPORT || e.errno() == Errno.EOPNOTSUPP) {
        return false;
      }
      throw new RulesException(
          IpFamily.V6,
          node.path()
              + ": IPv6 stays blocked, its policy rules ('ip -6 rule', proto 133) cannot be"
              + " removed: "
              + e.getMessage(),
          e);
    }
  }

  private static List<String> names(NetworkNamespace node) {
    return Interfaces.of(node).stream().map(Interface::name).toList();
  }

  private static boolean isOurs(PolicyRule rule) {
    return rule.madeBy() == MADE_BY;
  }

  /// In the order in which they have to be added. Pure.
  static List<PolicyRule> wanted(NodePlan plan, List<String> there) {
    List<String> blocked = new ArrayList<>();
    plan.pods().stream()
        .filter(pod -> pod.plan().strictness().closed())
        .forEach(pod -> blocked.addAll(pod.interfaces()));
    there.stream().filter(plan::isStranger).forEach(blocked::add);
    List<PolicyRule> wanted = new ArrayList<>();
    if (!blocked.isEmpty()) {
      wanted.add(NEIGHBOURS);
      blocked.forEach(name -> wanted.add(rule(BEFORE_LOCAL, Action.PROHIBIT, name, 0)));
    }
    if (!plan.strangers().isEmpty()) {
      wanted.add(HERE); // what rules go to has to be there first
      there.stream()
          .filter(name -> !blocked.contains(name))
          .forEach(name -> wanted.add(rule(SPARED, Action.GO_TO, name, BEHIND)));
      wanted.add(THE_OTHERS);
    }
    return wanted;
  }

  /// Pure.
  static List<String> differences(List<PolicyRule> wanted, List<PolicyRule> now) {
    List<String> differences = new ArrayList<>();
    wanted.stream()
        .filter(rule -> !now.contains(rule))
        .forEach(rule -> differences.add(text(rule) + " is missing"));
    surplus(wanted, now).forEach(rule -> differences.add(text(rule) + " is not wanted"));
    if (differences.isEmpty() && !inOrder(now)) {
      differences.add("IPv6 rule: what blocks does not come first");
    }
    return differences;
  }

  private static List<PolicyRule> surplus(List<PolicyRule> wanted, List<PolicyRule> now) {
    List<PolicyRule> surplus = new ArrayList<>(now.stream().filter(NodeIpv6Block::isOurs).toList());
    wanted.forEach(surplus::remove); // each once
    return surplus;
  }

  /// Whether neighbours come first, then what is blocked, then the node's own addresses.
  private static boolean inOrder(List<PolicyRule> now) {
    int neighbours = now.indexOf(NEIGHBOURS);
    boolean blocked = false;
    boolean local = false;
    for (int i = 0; i < now.size(); i++) {
      PolicyRule rule = now.get(i);
      local |= rule.isLocal();
      blocked = isOurs(rule) && rule.preference() == BEFORE_LOCAL;
      if (blocked && (local || i < neighbours)) {
        return false;
      }
    }
    return true;
  }

  /// First what blocks more, then what blocks less.
  private static void bring(Ipv6PolicyRules rules, List<PolicyRule> wanted, List<PolicyRule> now) {
    List<PolicyRule> more = wanted.stream().filter(rule -> !now.contains(rule)).toList();
    more.forEach(rules::add);
    if (more.contains(NEIGHBOURS)) { // it has to come first
      now.stream()
          .filter(rule -> wanted.contains(rule) && rule.preference() == BEFORE_LOCAL)
          .forEach(rule -> toTheEnd(rules, rule));
    }
    takeAway(rules, surplus(wanted, now));
    List<PolicyRule> after = rules.list();
    if (!inOrder(after)) {
      after.stream().filter(PolicyRule::isLocal).forEach(local -> toTheEnd(rules, local));
    }
  }

  /// Behind all of its preference, without a moment in which it is not there.
  private static void toTheEnd(Ipv6PolicyRules rules, PolicyRule rule) {
    rules.add(rule);
    rules.remove(rule);
  }

  /// What prohibits everything goes before what spares some of it.
  private static void takeAway(Ipv6PolicyRules rules, List<PolicyRule> surplus) {
    surplus.stream()
        .sorted(Comparator.comparing(rule -> rule.action() != Action.PROHIBIT))
        .forEach(rules::remove);
  }

  private static String text(PolicyRule rule) {
    String what =
        switch (rule.action()) {
          case LOOK_UP -> "lookup " + rule.target();
          case GO_TO -> "goto " + rule.target();
          case NOTHING -> "nop";
          case PROHIBIT -> "prohibit";
          case OTHER -> "?";
        };
    return "IPv6 rule "
        + rule.preference()
        + ": from all"
        + (rule.incoming().isEmpty() ? "" : " iif " + rule.incoming())
        + (rule.ipProtocol() == 0 ? "" : " ipproto " + rule.ipProtocol())
        + " "
        + what;
  }
}
