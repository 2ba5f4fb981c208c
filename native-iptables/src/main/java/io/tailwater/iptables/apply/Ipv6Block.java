package io.tailwater.iptables.apply;

import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.Routing;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.IpFamily;

/// The last resort where no rule can be had for IPv6, such as iptables without ip6tables: a policy
/// rule that prohibits every way out of the namespace (`ip -6 rule add pref 1 prohibit`). Loopback,
/// the pod's own addresses and neighbour discovery stay; answers to IPv6 from outside do not leave
/// either. No program is needed, and nothing else of the namespace changes.
///
/// On a platform thread, one at a time per namespace.
public final class Ipv6Block {
  /// Behind `local`, ahead of everything that leads outside.
  private static final int PREFERENCE = 1;

  private Ipv6Block() {}

  /// Blocks, unless it is blocked or there is no IPv6.
  ///
  /// @throws RulesException when it cannot be blocked: IPv6 is open then
  public static void install(NetworkNamespace namespace) {
    try (Routing routing = Routing.open(namespace)) {
      if (!routing.isProhibited()) {
        routing.prohibit(PREFERENCE);
      }
    } catch (SyscallException e) {
      if (!lacksFamily(e)) {
        throw new RulesException(
            IpFamily.V6,
            namespace.path()
                + ": IPv6 can be neither captured nor refused, and not blocked by a policy rule: "
                + e.getMessage()
                + ". What the pod sends over IPv6 PASSES. Install ip6tables or nft, or switch IPv6"
                + " off in the pod (net.ipv6.conf.all.disable_ipv6)",
            e);
      }
    }
  }

  /// Whether nothing leaves over IPv6, or there is none.
  public static boolean stands(NetworkNamespace namespace) {
    try (Routing routing = Routing.open(namespace)) {
      return routing.isProhibited();
    } catch (SyscallException e) {
      if (lacksFamily(e)) {
        return true;
      }
      throw e;
    }
  }

  /// Takes the block away. Whether there was one.
  ///
  /// @throws SyscallException when it cannot be taken away
  public static boolean remove(NetworkNamespace namespace) {
    try (Routing routing = Routing.open(namespace)) {
      return routing.prohibitNoMore(PREFERENCE);
    } catch (SyscallException e) {
      if (lacksFamily(e)) {
        return false;
      }
      throw e;
    }
  }

  private static boolean lacksFamily(SyscallException e) {
    return e.errno() == Errno.EAFNOSUPPORT || e.errno() == Errno.EOPNOTSUPP;
  }
}
