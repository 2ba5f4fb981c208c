package io.tailwater.iptables.apply;

import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.StandingPods.StandingPod;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// What an agent before us has left in a namespace with another backend than the one in use. Rules
/// of two backends are both in force, and the old ones may not know our mark: the agent's own
/// traffic would be captured by them.
///
/// The kernel is asked first which tables there are: in a pod there are usually none.
final class Leftovers {
  private final RuleBackend inUse;
  private final CommandRunner runner;
  private final Map<RuleBackend, RuleStore> stores = new EnumMap<>(RuleBackend.class);

  Leftovers(RuleBackend inUse, CommandRunner runner) {
    this.inUse = inUse;
    this.runner = runner;
  }

  /// Removes them and says from which backends.
  ///
  /// @throws RulesException when there are some and they could not be removed
  List<RuleBackend> remove(NetworkNamespace namespace, boolean hasIpv6) {
    List<RuleBackend> removed = new ArrayList<>();
    KernelTables tables = KernelTables.of(namespace);
    for (RuleBackend backend : RuleBackend.values()) {
      if (backend != inUse && hasOurs(namespace, backend, tables, hasIpv6)) {
        try {
          store(backend).orElseThrow().remove(namespace, hasIpv6);
          removed.add(backend);
        } catch (RulesException e) {
          throw new RulesException(
              "The rules that an earlier agent kept with "
                  + backend
                  + " are still in force beside those of "
                  + inUse
                  + ": "
                  + e.getMessage());
        }
      }
    }
    return removed;
  }

  /// The pods of the node whose rules an agent before has kept with another backend.
  List<StandingPod> pods(NetworkNamespace node, boolean hasIpv6) {
    List<StandingPod> pods = new ArrayList<>();
    KernelTables tables = KernelTables.of(node);
    for (RuleBackend backend : RuleBackend.values()) {
      if (backend != inUse && hasOurs(node, backend, tables, hasIpv6)) {
        pods.addAll(store(backend).orElseThrow().pods(node, hasIpv6));
      }
    }
    return pods;
  }

  private boolean hasOurs(
      NetworkNamespace namespace, RuleBackend backend, KernelTables tables, boolean hasIpv6) {
    Optional<RuleStore> store = store(backend);
    if (store.isEmpty()) {
      return false; // whose program is not here, cannot have been used by an agent of this image
    }
    for (IpFamily family : IpFamily.values()) {
      if ((family == IpFamily.V4 || hasIpv6)
          && tables.has(backend, family)
          && (!(store.get() instanceof IptablesRules rules) || rules.hasOurs(namespace, family))) {
        return true;
      }
    }
    return false;
  }

  private synchronized Optional<RuleStore> store(RuleBackend backend) {
    if (!stores.containsKey(backend)) {
      RulePrograms.named(backend)
          .ifPresent(programs -> stores.put(backend, TrafficRules.store(programs, runner)));
    }
    return Optional.ofNullable(stores.get(backend));
  }
}
