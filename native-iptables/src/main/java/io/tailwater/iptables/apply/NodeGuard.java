package io.tailwater.iptables.apply;

import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.IpProtocol;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.iptables.rule.Logged;
import io.tailwater.iptables.rule.NodePlan;
import io.tailwater.iptables.rule.UdpPolicy;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/// Keeps closed pods on the node closed while somebody has flushed the rules, or some of them, and
/// until they are back: an [OwnedTable] that drops what those would not let pass. As long as they
/// are there it has nothing to drop.
///
/// What a closed pod begins is judged behind mangle, where the rules have said what becomes of it,
/// and ahead of nat. What they have not brought to the agent or refused is dropped if it is TCP,
/// DNS, or UDP or a protocol that the plan refuses; and from strangers, whatever it is. What
/// answers a connection from outside passes, and what belongs to one that the agent has released
/// ([KernelPass]); of one that it has not yet, what carries no data. Behind filter the rest of it:
/// what is for the agent and has lost its way, what nobody has refused at last.
///
/// On a platform thread outside of any namespace, one at a time.
public final class NodeGuard implements AutoCloseable {
  private static final int BEHIND_MANGLE = -149;
  private static final int BEHIND_FILTER = 10;

  private static final String BEGUN = "begun";
  private static final String FORWARDED = "forwarded";
  private static final String DELIVERED = "delivered";

  private static final int DNS = 53;
  private static final int QUIC = 443;
  private static final int ROOM = 32 << 10;
  private static final int ROOM_OF_INTERFACE = 160;

  private final NetworkNamespace node;
  private @Nullable OwnedTable table;
  private @Nullable NodePlan plan;
  private boolean withoutIpv6;

  /// Guards nothing yet.
  public NodeGuard(NetworkNamespace node) {
    this.node = node;
  }

  /// Guards what a plan says. Before the rules of that plan.
  ///
  /// @param ipv6Blocked IPv6 is left to [NodeIpv6Block], which answers and counts
  /// @throws SyscallException where the kernel cannot (Linux 5.12, with kernel pass 5.16); what was
  ///   guarded before is still
  public void guard(NodePlan wanted, boolean ipv6Blocked) {
    if (wanted.equals(plan) && ipv6Blocked == withoutIpv6) {
      return;
    }
    if (interfaces(wanted, NodeGuard::isClosed).isEmpty() && wanted.strangers().isEmpty()) {
      close();
      return;
    }
    OwnedTable into = table == null ? OwnedTable.in(node) : table;
    TableBatch batch = into.batch(ROOM + ROOM_OF_INTERFACE * interfaces(wanted, _ -> true).size());
    new Content(wanted, ipv6Blocked, batch).write();
    into.commit(batch);
    table = into;
    plan = wanted;
    withoutIpv6 = ipv6Blocked;
  }

  private static boolean isClosed(CapturePlan pod) {
    return pod.strictness().closed();
  }

  private static Set<String> interfaces(NodePlan plan, Predicate<CapturePlan> which) {
    Set<String> names = new HashSet<>();
    plan.pods().stream()
        .filter(pod -> which.test(pod.plan()))
        .forEach(pod -> names.addAll(pod.interfaces()));
    return names;
  }

  /// Guards no longer; the table is gone.
  @Override
  public void close() {
    if (table != null) {
      table.close();
      table = null;
    }
    plan = null;
  }

  /// Writes the table.
  private record Content(NodePlan plan, boolean ipv6Blocked, TableBatch batch) {
    void write() {
      Sets sets =
          new Sets(
              set(_ -> true),
              set(NodeGuard::isClosed),
              set(pod -> isClosed(pod) && pod.dnsPort().isPresent()),
              set(pod -> isClosed(pod) && pod.udp() == UdpPolicy.QUIC),
              set(pod -> isClosed(pod) && pod.udp() == UdpPolicy.ALL),
              set(pod -> isClosed(pod) && pod.strictness().knownProtocolsOnly()));
      batch.chain(BEGUN, "filter", TableBatch.PREROUTING, BEHIND_MANGLE);
      batch.chain(FORWARDED, "filter", TableBatch.FORWARD, BEHIND_FILTER);
      batch.chain(DELIVERED, "filter", TableBatch.INPUT, BEHIND_FILTER);
      if (ipv6Blocked) {
        begun().ipv6().accept();
      }
      for (String pattern : plan.strangers()) {
        begun().from(pattern).from(false, sets.pods()).drop();
      }
      begun().from(false, sets.closed()).accept();
      begun().mark(NodePlan.LOCAL).accept();
      begun().mark(NodePlan.REFUSED).accept();
      begun().reply().accept();
      tcp();
      udp(sets);
      for (IpProtocol known : IpProtocol.values()) {
        begun().protocol(known).accept();
      }
      begun().from(true, sets.known()).drop();
      forwarded(sets);
      batch.rule(DELIVERED).from(true, sets.closed()).mark(NodePlan.REFUSED).drop();
    }

    private String set(Predicate<CapturePlan> which) {
      return batch.interfaces(interfaces(plan, which));
    }

    private RuleExpressions begun() {
      return batch.rule(BEGUN);
    }

    private void tcp() {
      if (plan.pods().stream().anyMatch(pod -> pod.plan().kernelPass().isPresent())) {
        begun().protocol(IpProtocol.TCP).connectionMark(KernelPass.RELEASED).accept();
        begun().protocol(IpProtocol.TCP).connectionMark(KernelPass.GATE).carriesData().drop();
        begun().protocol(IpProtocol.TCP).connectionMark(KernelPass.GATE).accept();
      }
      plan.log()
          .ifPresent(group ->
              begun()
                  .protocol(IpProtocol.TCP)
                  .limit(Logged.PER_SECOND, Logged.AT_ONCE)
                  .log(Logged.UNCAPTURED, group, Logged.BYTES)
                  .end());
      begun().protocol(IpProtocol.TCP).drop();
    }

    private void udp(Sets sets) {
      udp(sets.dns()).destinationPort(DNS).drop();
      udp(sets.quic()).destinationPort(QUIC).drop();
      udp(sets.silent()).destinationPort(DNS).accept();
      udp(sets.silent()).drop();
    }

    private RuleExpressions udp(String from) {
      return begun().from(true, from).protocol(IpProtocol.UDP);
    }

    /// ICMP is judged here because neighbours are found by what is not forwarded.
    private void forwarded(Sets sets) {
      batch.rule(FORWARDED).from(false, sets.closed()).accept();
      batch.rule(FORWARDED).mark(NodePlan.LOCAL).drop();
      batch.rule(FORWARDED).mark(NodePlan.REFUSED).drop();
      batch.rule(FORWARDED).reply().accept();
      batch.rule(FORWARDED).related().accept();
      for (IpProtocol icmp : List.of(IpProtocol.ICMP, IpProtocol.ICMP6)) {
        batch.rule(FORWARDED).from(true, sets.silent()).protocol(icmp).drop();
      }
    }
  }

  /// Names of sets of interfaces: of all pods, of closed ones, of those among them whose DNS is
  /// captured, that may not use QUIC, no UDP and ICMP, no unknown protocol.
  private record Sets(
      String pods, String closed, String dns, String quic, String silent, String known) {}
}
