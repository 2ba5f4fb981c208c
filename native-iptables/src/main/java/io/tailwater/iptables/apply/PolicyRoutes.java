package io.tailwater.iptables.apply;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.Routing;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.Mark;
import io.tailwater.iptables.rule.NodePlan;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.List;

/// The policy routes of one namespace: packets with a mark are delivered here, whatever they are
/// addressed to (`ip rule add fwmark 0x200/0x200 pref 32 lookup 133`, `ip route add local default
/// dev lo table 133`). Both families; installing twice is the same as once. A platform thread, one
/// at a time.
public final class PolicyRoutes {
  /// Of the node's namespace: what TPROXY brings to the agent.
  public static final PolicyRoutes NODE =
      new PolicyRoutes(
          "Capture mode node", NodePlan.LOCAL, NodePlan.RULE_PREFERENCE, NodePlan.ROUTE_TABLE);

  /// Of a pod's namespace: what its servers answer to clients in whose name the agent has dialled.
  public static final PolicyRoutes INBOUND =
      new PolicyRoutes(
          "Inbound capture",
          Mark.INBOUND,
          CapturePlan.Inbound.RULE_PREFERENCE,
          CapturePlan.Inbound.ROUTE_TABLE);

  /// RFC 5737 and 3849: an address that no node has.
  private static final InetAddress ANY_4 = InetAddress.ofLiteral("192.0.2.254");

  private static final InetAddress ANY_6 = InetAddress.ofLiteral("2001:db8::fffe");

  private final String user;
  private final Mark mark;
  private final int preference;
  private final int table;

  private PolicyRoutes(String user, Mark mark, int preference, int table) {
    this.user = user;
    this.mark = mark;
    this.preference = preference;
    this.table = table;
  }

  /// What is added, as `ip` would be told.
  public String show() {
    StringBuilder text = new StringBuilder();
    for (String family : List.of("-4", "-6")) {
      text.append(
          "# ip %s rule add fwmark %s pref %d lookup %d%n"
              .formatted(family, mark, preference, table));
      text.append("# ip %s route add local default dev lo table %d%n".formatted(family, table));
    }
    return text.toString();
  }

  /// Adds what is missing, and asks the kernel whether it delivers.
  ///
  /// @throws RulesException with the family, when it cannot be added or another rule comes first
  public void install(NetworkNamespace namespace) {
    install(namespace, List.of(IpFamily.values()));
  }

  /// The same of some families.
  public void install(NetworkNamespace namespace, List<IpFamily> families) {
    try (Routing routing = Routing.open(namespace)) {
      families.forEach(family -> install(namespace, routing, family));
    }
  }

  private void install(NetworkNamespace namespace, Routing routing, IpFamily family) {
    if (routing.delivers(wanted(family), any(family))) {
      return;
    }
    try {
      routing.add(wanted(family));
    } catch (SyscallException e) {
      if (family == IpFamily.V6 && lacksFamily(e)) {
        return;
      }
      throw new RulesException(
          family,
          namespace.path()
              + ", "
              + family
              + ": the policy route cannot be added: "
              + e.getMessage()
              + ". "
              + user
              + " needs it; CAP_NET_ADMIN must be there, and the kernel must"
              + " have policy routing (CONFIG_IP_MULTIPLE_TABLES)",
          e);
    }
    if (!routing.delivers(wanted(family), any(family))) {
      throw new RulesException(
          family,
          namespace.path()
              + ", "
              + family
              + ": packets with mark "
              + mark
              + " are not delivered by table "
              + table
              + ": another rule comes before preference "
              + preference
              + " (see 'ip rule'), or the table is used by somebody else");
    }
  }

  /// What is missing, a line for each family; empty when all is in force.
  public List<String> verify(NetworkNamespace namespace) {
    return verify(namespace, List.of(IpFamily.values()));
  }

  /// The same of some families.
  public List<String> verify(NetworkNamespace namespace, List<IpFamily> families) {
    List<String> missing = new ArrayList<>();
    try (Routing routing = Routing.open(namespace)) {
      for (IpFamily family : families) {
        if ((family == IpFamily.V4 || hasIpv6(routing))
            && !routing.delivers(wanted(family), any(family))) {
          missing.add(family + " policy route: fwmark " + mark + " to table " + table);
        }
      }
    }
    return missing;
  }

  /// Takes both away. Whether there was anything.
  ///
  /// @throws RulesException with the family that could not be cleaned
  public boolean remove(NetworkNamespace namespace) {
    boolean found = false;
    try (Routing routing = Routing.open(namespace)) {
      for (IpFamily family : IpFamily.values()) {
        try {
          found |= routing.remove(wanted(family));
        } catch (SyscallException e) {
          if (family == IpFamily.V4 || !lacksFamily(e)) {
            throw new RulesException(
                family,
                namespace.path() + ": the policy route cannot be removed: " + e.getMessage(),
                e);
          }
        }
      }
    }
    return found;
  }

  /// Loopback has an address of the family: without one a local route leads nowhere.
  private static boolean hasIpv6(Routing routing) {
    return routing.wayTo(IpFamily.V6.localhost().address()).isPresent();
  }

  private static boolean lacksFamily(SyscallException e) {
    return e.errno() == Errno.EAFNOSUPPORT
        || e.errno() == Errno.EOPNOTSUPP
        || e.errno() == Errno.EACCES;
  }

  private Routing.LocalDelivery wanted(IpFamily family) {
    return new Routing.LocalDelivery(
        family == IpFamily.V6, preference, mark.value(), mark.mask(), table);
  }

  private static InetAddress any(IpFamily family) {
    return switch (family) {
      case V4 -> ANY_4;
      case V6 -> ANY_6;
    };
  }
}
