package io.tailwater.iptables.apply;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.Attributes;
import io.tailwater.iptables.netlink.MessageWriter;
import io.tailwater.iptables.netlink.NetlinkMemory;
import io.tailwater.iptables.netlink.NetlinkMessages;
import io.tailwater.iptables.netlink.NetlinkSocket;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.NftScript;
import io.tailwater.iptables.rule.Table;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.Collectors;

/// Which tables of rules there are in a namespace that could hold rules of ours, as the kernel
/// itself tells: no program is started for those that are not there. In a new pod there are none.
///
/// On a platform thread outside of any namespace.
final class KernelTables {
  /// `linux/netfilter/nfnetlink.h` and `nf_tables.h`.
  private static final int NF_TABLES = 10;

  private static final int GET_TABLE = 1;

  private static final int TABLE_NAME = 1;
  private static final int FAMILY_INET = 1;
  private static final int FAMILY_IPV4 = 2;
  private static final int FAMILY_IPV6 = 10;
  private static final long ANSWER_MILLIS = 5000;

  private static final Set<String> IPTABLES =
      Arrays.stream(Table.values()).map(Table::toString).collect(Collectors.toUnmodifiableSet());

  /// Tables of one backend and family.
  private record Kind(RuleBackend backend, IpFamily family) {}

  private final Set<Kind> there = new HashSet<>();

  /// Of which the kernel has told nothing.
  private final Set<Kind> unknown = new HashSet<>();

  private KernelTables() {}

  /// Asks.
  static KernelTables of(NetworkNamespace namespace) {
    KernelTables tables = new KernelTables();
    NetlinkSocket socket =
        namespace.call(() -> {
          tables.legacy("ip_tables_names", IpFamily.V4);
          tables.legacy("ip6_tables_names", IpFamily.V6);
          try {
            return NetlinkSocket.here(NetlinkSocket.NETFILTER);
          } catch (SyscallException e) {
            tables.untold(e);
            return null;
          }
        });
    if (socket != null) {
      try (socket) {
        tables.nfTables(socket);
      }
    }
    return tables;
  }

  /// Whether there are such tables, as far as is known.
  boolean has(RuleBackend backend, IpFamily family) {
    return there.contains(new Kind(backend, family));
  }

  /// Whether there are certainly none.
  boolean lacks(RuleBackend backend, IpFamily family) {
    Kind kind = new Kind(backend, family);
    return !there.contains(kind) && !unknown.contains(kind);
  }

  /// Inside the namespace. Tables exist there once somebody has used them.
  private void legacy(String file, IpFamily family) {
    Kind kind = new Kind(RuleBackend.IPTABLES_LEGACY, family);
    try {
      if (!Files.readString(Path.of("/proc/thread-self/net", file)).isBlank()) {
        there.add(kind);
      }
    } catch (NoSuchFileException _) {
      // The module is not loaded: nothing is there.
    } catch (IOException _) {
      unknown.add(kind);
    }
  }

  private void nfTables(NetlinkSocket socket) {
    MessageWriter request = new MessageWriter(64);
    request
        .beginNetfilter(NF_TABLES, GET_TABLE, MessageWriter.REQUEST | MessageWriter.DUMP, 1, 0, 0)
        .end();
    Attributes attributes = new Attributes();
    try {
      socket.ask(
          request,
          1,
          ANSWER_MILLIS,
          new NetlinkMemory(32 * 1024),
          message -> table(message, message.netfilterAttributes(attributes)));
    } catch (SyscallException e) {
      untold(e);
    }
  }

  private void table(NetlinkMessages message, Attributes attributes) {
    while (attributes.next()) {
      if (attributes.type() == TABLE_NAME) {
        String name = attributes.text();
        int family = message.family();
        if (family == FAMILY_INET && name.equals(NftScript.TABLE)) {
          there.add(new Kind(RuleBackend.NFT, IpFamily.V4)); // it holds both
          there.add(new Kind(RuleBackend.NFT, IpFamily.V6));
        } else if (family == FAMILY_IPV4 && IPTABLES.contains(name)) {
          there.add(new Kind(RuleBackend.IPTABLES_NFT, IpFamily.V4));
        } else if (family == FAMILY_IPV6 && IPTABLES.contains(name)) {
          there.add(new Kind(RuleBackend.IPTABLES_NFT, IpFamily.V6));
        }
      }
    }
  }

  /// A kernel without nf_tables, or netfilter's netlink at all, has no such tables.
  private void untold(SyscallException e) {
    if (e.errno() == Errno.EINVAL
        || e.errno() == Errno.EOPNOTSUPP
        || e.errno() == Errno.EPROTONOSUPPORT) {
      return;
    }
    for (RuleBackend backend : new RuleBackend[] {RuleBackend.IPTABLES_NFT, RuleBackend.NFT}) {
      for (IpFamily family : IpFamily.values()) {
        unknown.add(new Kind(backend, family));
      }
    }
  }
}
