package io.tailwater.iptables.apply;

import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.Attributes;
import io.tailwater.iptables.netlink.MessageWriter;
import io.tailwater.iptables.netlink.NetlinkMemory;
import io.tailwater.iptables.netlink.NetlinkSocket;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.NftScript;
import io.tailwater.iptables.rule.Table;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// What an agent before us has left in a namespace with another backend than the one in use. Rules
/// of two backends are both in force, and the old ones may not know our mark: the agent's own
/// traffic would be captured by them.
///
/// The kernel is asked first which tables there are, without a program: in a pod there are usually
/// none.
final class Leftovers {
  /// `linux/netfilter/nfnetlink.h` and `nf_tables.h`.
  private static final int NF_TABLES = 10;

  private static final int GET_TABLE = 1;

  private static final int TABLE_NAME = 1;
  private static final int FAMILY_INET = 1;
  private static final int FAMILY_IPV4 = 2;
  private static final int FAMILY_IPV6 = 10;
  private static final long ANSWER_MILLIS = 5000;

  /// A table that there is.
  private record Found(RuleBackend backend, IpFamily family) {}

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
    Set<Found> tables = tables(namespace);
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

  private boolean hasOurs(
      NetworkNamespace namespace, RuleBackend backend, Set<Found> tables, boolean hasIpv6) {
    Optional<RuleStore> store = store(backend);
    if (store.isEmpty()) {
      return false; // whose program is not here, cannot have been used by an agent of this image
    }
    for (IpFamily family : IpFamily.values()) {
      if ((family == IpFamily.V4 || hasIpv6)
          && tables.contains(new Found(backend, family))
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

  private static Set<Found> tables(NetworkNamespace namespace) {
    Set<Found> found = new HashSet<>();
    NetlinkSocket socket =
        namespace.call(() -> {
          legacy("ip_tables_names", IpFamily.V4, found);
          legacy("ip6_tables_names", IpFamily.V6, found);
          try {
            return NetlinkSocket.here(NetlinkSocket.NETFILTER);
          } catch (SyscallException _) {
            return null; // a kernel without: then there are no such tables either
          }
        });
    if (socket != null) {
      try (socket) {
        nfTables(socket, found);
      }
    }
    return found;
  }

  /// Inside the namespace. Tables exist there once somebody has used them.
  private static void legacy(String file, IpFamily family, Set<Found> found) {
    try {
      if (!Files.readString(Path.of("/proc/thread-self/net", file)).isBlank()) {
        found.add(new Found(RuleBackend.IPTABLES_LEGACY, family));
      }
    } catch (IOException _) {
      // The module is not loaded: nothing is there.
    }
  }

  private static void nfTables(NetlinkSocket socket, Set<Found> found) {
    MessageWriter request = new MessageWriter(64);
    request
        .beginNetfilter(NF_TABLES, GET_TABLE, MessageWriter.REQUEST | MessageWriter.DUMP, 1, 0, 0)
        .end();
    Attributes attributes = new Attributes();
    Set<String> iptables =
        Set.copyOf(List.of(Table.values()).stream().map(Table::toString).toList());
    try {
      socket.ask(
          request,
          1,
          ANSWER_MILLIS,
          new NetlinkMemory(32 * 1024),
          message -> {
            message.netfilterAttributes(attributes);
            while (attributes.next()) {
              if (attributes.type() == TABLE_NAME) {
                String name = attributes.text();
                if (message.family() == FAMILY_INET && name.equals(NftScript.TABLE)) {
                  found.add(new Found(RuleBackend.NFT, IpFamily.V4));
                } else if (message.family() == FAMILY_IPV4 && iptables.contains(name)) {
                  found.add(new Found(RuleBackend.IPTABLES_NFT, IpFamily.V4));
                } else if (message.family() == FAMILY_IPV6 && iptables.contains(name)) {
                  found.add(new Found(RuleBackend.IPTABLES_NFT, IpFamily.V6));
                }
              }
            }
          });
    } catch (SyscallException _) {
      // A kernel without nf_tables has no such tables.
    }
  }
}
