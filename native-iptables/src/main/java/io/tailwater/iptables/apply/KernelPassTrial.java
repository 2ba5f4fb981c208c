package io.tailwater.iptables.apply;

import io.tailwater.iptables.apply.CommandRunner.CommandException;
import io.tailwater.iptables.apply.CommandRunner.Result;
import io.tailwater.iptables.apply.Preflight.Finding;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.queue.Conntrack;
import io.tailwater.iptables.queue.FlowTuple;
import io.tailwater.iptables.queue.PacketQueue;
import io.tailwater.iptables.queue.SocketDiag;
import io.tailwater.iptables.rule.Chain;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.IpProtocol;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.iptables.rule.Match;
import io.tailwater.iptables.rule.NamespaceRules;
import io.tailwater.iptables.rule.Rule;
import io.tailwater.iptables.rule.RuleSet;
import io.tailwater.iptables.rule.Table;
import io.tailwater.iptables.rule.Target;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/// Tries what a [KernelPass] takes, in namespaces that end with the trial. Changes nothing. On a
/// platform thread outside of any namespace.
final class KernelPassTrial {
  private static final String NAME = "kernel pass: ";
  private static final Match TCP = new Match.Protocol(IpProtocol.TCP);

  private final RulePrograms programs;
  private final CommandRunner runner;

  KernelPassTrial(RulePrograms programs, CommandRunner runner) {
    this.programs = programs;
    this.runner = runner;
  }

  private boolean isNft() {
    return programs.backend() == RuleBackend.NFT;
  }

  /// A row for each thing.
  List<Finding> findings() {
    List<Finding> findings = new ArrayList<>(rules());
    try (NetworkNamespace scratch = NetworkNamespace.fresh()) {
      findings.addAll(needed(scratch));
      findings.add(tried("ending sockets", scratch, KernelPassTrial::endSocket));
    } catch (SyscallException e) {
      findings.add(untried(e));
    }
    return findings;
  }

  /// Who cannot try cannot capture either, which is said elsewhere.
  private static Finding untried(SyscallException e) {
    return Finding.ok(NAME + "queue", "not tried: " + e.getMessage());
  }

  // ---- rules

  private List<Finding> rules() {
    if (isNft()) {
      return List.of(tried("nft queue", queue()));
    }
    return List.of(
        tried("NFQUEUE", queue()),
        tried("bpf match", family -> rule(Table.FILTER, new Target.Return(), TCP, payload(family))),
        tried(
            "connmark",
            family ->
                rule(
                    Table.FILTER,
                    new Target.SetConnectionMark(KernelPass.GATE),
                    new Match.ConnectionMark(KernelPass.RELEASED))),
        tried(
            "hop limit",
            family -> rule(Table.MANGLE, new Target.HopLimit(family, KernelPass.HOP_LIMIT), TCP)));
  }

  private static Match payload(IpFamily family) {
    return new Match.Payload(family);
  }

  private static Trial queue() {
    return family -> rule(Table.FILTER, new Target.Queue(KernelPass.STANDARD.queue(), false), TCP);
  }

  private interface Trial {
    NamespaceRules rules(IpFamily family);
  }

  private static NamespaceRules rule(Table table, Target target, Match... matches) {
    Rule rule = Rule.of("tried", target, matches);
    Map<Table, List<Chain>> tables =
        Map.of(table, List.of(new Chain(Chain.OUTPUT, "OUTPUT", List.of(rule))));
    return new NamespaceRules(new RuleSet(IpFamily.V4, tables), new RuleSet(IpFamily.V6, tables));
  }

  private Finding tried(String what, Trial trial) {
    try {
      for (IpFamily family : IpFamily.values()) {
        Result result = programs.tried(trial.rules(family), family, runner);
        if (!result.succeeded()) {
          return lacking(what, family + ": " + result.complaint());
        }
      }
      return Finding.ok(NAME + what, "works");
    } catch (CommandException e) {
      return lacking(what, e.getMessage());
    }
  }

  private Finding lacking(String what, String found) {
    return Finding.warning(
        NAME + what,
        found,
        "Without it connections go through the agent (relay: splice at best). "
            + (isNft()
                ? "The reason that pods give is no_nft_queue. Load nft_queue (CONFIG_NFT_QUEUE), or"
                    + " take backend iptables-nft"
                : "Load the kernel modules xt_NFQUEUE, xt_bpf, xt_connmark, xt_HL and"
                    + " nfnetlink_queue"));
  }

  // ---- netlink

  private List<Finding> needed(NetworkNamespace scratch) {
    return List.of(
        tried("set of addresses", scratch, this::set),
        tried("queue", scratch, KernelPassTrial::bind),
        tried("conntrack", scratch, KernelPassTrial::conntrack));
  }

  private Finding tried(String what, NetworkNamespace scratch, Consumer<NetworkNamespace> trial) {
    try {
      trial.accept(scratch);
      return Finding.ok(NAME + what, "works");
    } catch (SyscallException e) {
      return Finding.warning(
          NAME + what,
          e.getMessage(),
          "Load the kernel modules nfnetlink_queue, nf_conntrack_netlink, ip_set_hash_ipport,"
              + " ip_set_hash_ipportip and tcp_diag (CONFIG_INET_DIAG_DESTROY)");
    }
  }

  private void set(NetworkNamespace scratch) {
    ReleasableSet.inPod(scratch, programs.backend()).close();
    ReleasableSet.onNode(scratch, programs.backend()).close();
  }

  private static void bind(NetworkNamespace scratch) {
    PacketQueue.open(scratch, KernelPass.STANDARD, KernelPass.HELD, PacketQueue.Place.POD).close();
  }

  private static void conntrack(NetworkNamespace scratch) {
    Conntrack.prepare(scratch);
    try (Conntrack conntrack = Conntrack.open(scratch)) {
      conntrack.list(KernelPass.RELEASED, _ -> {});
    }
  }

  private static void endSocket(NetworkNamespace scratch) {
    try (SocketDiag sockets = SocketDiag.open(scratch)) {
      FlowTuple nobody = new FlowTuple(false, 0, 0x7f000001, 0, 0x7f000001, 0x10001);
      if (sockets.destroy(nobody) == SocketDiag.Ended.NOT_IN_THIS_KERNEL) {
        throw new SyscallException(
            "SOCK_DESTROY", Errno.EOPNOTSUPP, "Idle connections outlive a change of policy");
      }
    }
  }
}
