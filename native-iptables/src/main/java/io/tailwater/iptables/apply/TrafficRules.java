package io.tailwater.iptables.apply;

import io.tailwater.iptables.apply.InstallReport.Outcome;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.libc.Syscalls;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.NamespaceRules;
import io.tailwater.iptables.rule.NftScript;
import io.tailwater.iptables.rule.RestoreScript;
import io.tailwater.iptables.rule.RuleSet;
import io.tailwater.iptables.rule.StandingPods;
import io.tailwater.iptables.rule.StandingPods.StandingPod;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/// The rules of one namespace: install, verify, remove, show. Whoever keeps them, the answers are
/// the same.
///
/// On a platform thread outside of any namespace, one at a time per namespace. Rules change in
/// transactions (one for each table of iptables, one in all for nf_tables), so that there is no
/// moment without rules while they are repaired. A failed first installation leaves nothing behind;
/// a failed repair leaves what was there, because removing it would let traffic past. What an
/// earlier agent has left with another backend goes once the new rules are in force.
public final class TrafficRules {
  private final RuleStore store;
  private final Leftovers leftovers;
  private final Predicate<NetworkNamespace> hasIpv6;

  public TrafficRules(RulePrograms programs, CommandRunner runner) {
    this(programs, runner, TrafficRules::hasIpv6);
  }

  TrafficRules(RulePrograms programs, CommandRunner runner, Predicate<NetworkNamespace> hasIpv6) {
    this(store(programs, runner), new Leftovers(programs.backend(), runner), hasIpv6);
  }

  private TrafficRules(RuleStore store, Leftovers leftovers, Predicate<NetworkNamespace> hasIpv6) {
    this.store = store;
    this.leftovers = leftovers;
    this.hasIpv6 = hasIpv6;
  }

  /// The same, but rules of IPv6 are neither looked at nor changed, for where they cannot be. (With
  /// nf_tables, where both families are in one table, there are none.)
  public TrafficRules withoutIpv6() {
    return new TrafficRules(store, leftovers, _ -> false);
  }

  static RuleStore store(RulePrograms programs, CommandRunner runner) {
    return switch (programs.backend()) {
      case IPTABLES_NFT, IPTABLES_LEGACY -> new IptablesRules(programs, runner);
      case NFT -> new NftRules(programs, runner);
    };
  }

  /// The programs in use, and so the backend.
  public RulePrograms programs() {
    return store.programs();
  }

  /// The rules of a plan as the scripts that would be run, with the reason over each rule. Needs no
  /// kernel.
  public static String show(CapturePlan plan, RuleBackend backend) {
    return show(NamespaceRules.of(plan), backend);
  }

  /// The same for any rules.
  public static String show(NamespaceRules rules, RuleBackend backend) {
    if (backend == RuleBackend.NFT) {
      NftScript script = NftScript.fresh(rules);
      return "# IPv4 and IPv6: nft -f -\n" + (script.isEmpty() ? "# no rules\n" : script.text());
    }
    StringBuilder text = new StringBuilder();
    for (RuleSet family : rules.families()) {
      RestoreScript script = RestoreScript.fresh(family);
      text.append("# ")
          .append(family.family())
          .append(family.family() == IpFamily.V4 ? ": iptables" : ": ip6tables")
          .append("-restore --noflush\n");
      text.append(script.isEmpty() ? "# no rules\n" : script.text());
    }
    return text.toString();
  }

  /// Opens the namespace at a path and installs the rules there.
  public InstallReport install(Path netns, CapturePlan plan) {
    try (NetworkNamespace namespace = NetworkNamespace.open(netns)) {
      return install(namespace, plan);
    }
  }

  /// Brings the rules of a pod into force.
  ///
  /// @throws RulesException as [#install(NetworkNamespace, NamespaceRules)]
  public InstallReport install(NetworkNamespace namespace, CapturePlan plan) {
    return install(namespace, NamespaceRules.of(plan));
  }

  /// Brings rules into force, whatever of ours was there before, and reads them back; then takes
  /// away what other backends hold of ours.
  ///
  /// @throws RulesException naming family and table; nothing of ours is left then if there was
  ///   nothing before. Without a family: the rules of another backend could not be removed, and the
  ///   new ones are in force beside them
  public InstallReport install(NetworkNamespace namespace, NamespaceRules rules) {
    boolean ipv6 = hasIpv6.test(namespace);
    Map<IpFamily, Outcome> outcomes = store.install(namespace, rules, ipv6);
    List<RuleBackend> others = leftovers.remove(namespace, ipv6);
    return new InstallReport(
        namespace.path(), namespace.id(), store.programs().backend(), outcomes, others);
  }

  /// Opens the namespace at a path and compares the rules there.
  public Drift verify(Path netns, CapturePlan plan) {
    try (NetworkNamespace namespace = NetworkNamespace.open(netns)) {
      return verify(namespace, plan);
    }
  }

  /// Compares what is in force with the plan. Changes nothing. About 5 ms, or 10 with iptables.
  public Drift verify(NetworkNamespace namespace, CapturePlan plan) {
    return verify(namespace, NamespaceRules.of(plan));
  }

  /// Compares what is in force with what shall be. Other backends are not looked at.
  public Drift verify(NetworkNamespace namespace, NamespaceRules rules) {
    return store.verify(namespace, rules, hasIpv6.test(namespace));
  }

  /// The pods whose rules stand in the node's namespace, whichever backend has kept them: what the
  /// kernel does now, whoever remembers it.
  ///
  /// @throws RulesException where they cannot be read
  public List<StandingPod> podsOnNode(NetworkNamespace node) {
    boolean ipv6 = hasIpv6.test(node);
    List<StandingPod> pods = new ArrayList<>(store.pods(node, ipv6));
    pods.addAll(leftovers.pods(node, ipv6));
    return StandingPods.together(pods);
  }

  /// Opens the namespace at a path and removes our rules there.
  public InstallReport remove(Path netns) {
    try (NetworkNamespace namespace = NetworkNamespace.open(netns)) {
      return remove(namespace);
    }
  }

  /// Takes everything of ours away, in both families and from all backends, whatever plan it came
  /// from; rules of others stay.
  ///
  /// @throws RulesException when something could not be removed; the rest was tried all the same
  public InstallReport remove(NetworkNamespace namespace) {
    boolean ipv6 = hasIpv6.test(namespace);
    Map<IpFamily, Outcome> outcomes;
    List<RuleBackend> others;
    try {
      outcomes = store.remove(namespace, ipv6);
    } finally {
      others = leftovers.remove(namespace, ipv6);
      AliveSets.remove(namespace);
      ReleasableSet.destroy(namespace);
    }
    return new InstallReport(
        namespace.path(), namespace.id(), store.programs().backend(), outcomes, others);
  }

  /// A kernel without IPv6 makes no such socket. (A namespace whose interfaces have IPv6 switched
  /// off does, and gets the rules: it may be switched on at any time.)
  private static boolean hasIpv6(NetworkNamespace namespace) {
    return namespace.call(() -> {
      try {
        Syscalls.close(
            Syscalls.socket(Syscalls.AF_INET6, Syscalls.SOCK_DGRAM | Syscalls.SOCK_CLOEXEC, 0));
        return true;
      } catch (SyscallException e) {
        if (e.errno() == Errno.EAFNOSUPPORT) {
          return false;
        }
        throw e;
      }
    });
  }
}
