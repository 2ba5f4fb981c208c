package io.tailwater.iptables.apply;

import io.tailwater.iptables.apply.InstallReport.Outcome;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.NamespaceRules;
import io.tailwater.iptables.rule.StandingPods.StandingPod;
import java.util.List;
import java.util.Map;

/// What one backend does in one namespace. Threads as for [TrafficRules].
sealed interface RuleStore permits IptablesRules, NftRules {
  RulePrograms programs();

  /// Brings the wanted rules into force without a gap, and reads them back.
  ///
  /// @param hasIpv6 whether the namespace's kernel knows IPv6 at all
  /// @throws RulesException when what was there before is still in force, or nothing of ours
  Map<IpFamily, Outcome> install(
      NetworkNamespace namespace, NamespaceRules wanted, boolean hasIpv6);

  /// Compares. Changes nothing.
  Drift verify(NetworkNamespace namespace, NamespaceRules wanted, boolean hasIpv6);

  /// The pods whose rules stand in the node's namespace.
  List<StandingPod> pods(NetworkNamespace node, boolean hasIpv6);

  /// Takes everything of ours away that this backend keeps there.
  Map<IpFamily, Outcome> remove(NetworkNamespace namespace, boolean hasIpv6);
}
