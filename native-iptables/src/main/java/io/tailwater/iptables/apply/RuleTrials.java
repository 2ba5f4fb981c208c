package io.tailwater.iptables.apply;

import io.tailwater.iptables.apply.CommandRunner.CommandException;
import io.tailwater.iptables.apply.CommandRunner.Result;
import io.tailwater.iptables.apply.Preflight.Finding;
import io.tailwater.iptables.libc.Errno;
import io.tailwater.iptables.libc.SyscallException;
import io.tailwater.iptables.netlink.Interfaces.Interface;
import io.tailwater.iptables.netlink.PacketLog;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.Ipv6;
import io.tailwater.iptables.rule.NamespaceRules;
import io.tailwater.iptables.rule.NodePlan;
import io.tailwater.iptables.rule.Strictness;
import io.tailwater.iptables.rule.UdpPolicy;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// Tries rules in namespaces that end with the program which tries them: what this kernel and these
/// programs can do. Changes nothing.
final class RuleTrials {
  private final CommandRunner runner;

  RuleTrials(CommandRunner runner) {
    this.runner = runner;
  }

  /// What works with the backend in use, what the other backends could, and what a kernel pass
  /// takes.
  ///
  /// @param onNode whether capture on the node is what is wanted
  /// @param ipv6 whether this kernel has IPv6
  List<Finding> run(RulePrograms programs, boolean onNode, boolean ipv6) {
    List<Finding> findings = new ArrayList<>();
    CapturePlan plan = closed();
    findings.add(tried("capture of IPv4", programs, plan, IpFamily.V4));
    Finding v6 = tried("capture of IPv6", programs, plan, IpFamily.V6);
    if (v6.state() == Finding.State.OK) {
      findings.add(v6);
    } else {
      findings.add(
          Finding.warning(
              v6.what(), v6.found(), "IPv6 can only be refused, not captured. " + v6.whatToDo()));
      findings.add(refusal(programs, plan.withIpv6(Ipv6.REFUSE)));
    }
    findings.add(guard(plan));
    findings.add(knownBy(programs));
    findings.add(failingOpen(programs, plan));
    if (onNode) {
      findings.addAll(onNode(programs, ipv6));
    } else {
      findings.add(onNode(programs, plan, IpFamily.V4, false));
    }
    for (RuleBackend other : RuleBackend.values()) {
      if (other != programs.backend()) {
        findings.add(other(other));
      }
    }
    if (programs.backend() == RuleBackend.NFT) {
      findings.add(shell());
    }
    findings.addAll(new KernelPassTrial(programs, runner).findings());
    return findings;
  }

  /// What capture on the node needs.
  ///
  /// @param ipv6 as for [#run]
  List<Finding> onNode(RulePrograms programs, boolean ipv6) {
    List<Finding> findings = new ArrayList<>();
    findings.add(onNode(programs, closed(), IpFamily.V4, true));
    if (ipv6) {
      Finding six = onNode(programs, closed(), IpFamily.V6, true);
      findings.add(
          six.state() == Finding.State.OK ? six : blockedInstead(six, blockOnNode(closed())));
    }
    return findings;
  }

  private static Finding blockedInstead(Finding lacking, String unblockable) {
    return unblockable.isEmpty()
        ? Finding.warning(
            lacking.what(),
            lacking.found(),
            "IPv6 is not captured: closed pods and unknown interfaces have it blocked by policy"
                + " rules, what open pods send over it passes. "
                + lacking.whatToDo())
        : Finding.missing(
            lacking.what(),
            lacking.found() + "; nor can it be blocked by policy rules: " + unblockable,
            lacking.whatToDo());
  }

  /// What is in the way of [NodeIpv6Block], or empty.
  private static String blockOnNode(CapturePlan plan) {
    NodePlan.Pod pod = new NodePlan.Pod(List.of("veth0"), List.of(), plan);
    try (NetworkNamespace passing = NetworkNamespace.fresh()) {
      NodeIpv6Block.install(
          passing, new NodePlan(List.of(pod), List.of("cali+"), Optional.empty()));
      return "";
    } catch (SyscallException | RulesException e) {
      return String.valueOf(e.getMessage());
    }
  }

  /// The rules that ask for most.
  private static CapturePlan closed() {
    return CapturePlan.egress()
        .withUdp(UdpPolicy.QUIC)
        .withStrictness(
            Strictness.NONE.withClosed(true).withKnownProtocolsOnly(true).withLog(PacketLog.GROUP));
  }

  /// Where not even this works there is a policy rule, [Ipv6Block].
  private Finding refusal(RulePrograms programs, CapturePlan plan) {
    Finding tried = tried("refusal of IPv6", programs, plan, IpFamily.V6);
    return tried.state() == Finding.State.OK
        ? tried
        : Finding.warning(
            tried.what(),
            tried.found(),
            "Closed pods have IPv6 blocked by a policy rule, answers from them included; what open"
                + " pods send over IPv6 passes. "
                + tried.whatToDo());
  }

  /// Whatever keeps the rules: only nf_tables stands at an interface's egress.
  private Finding guard(CapturePlan plan) {
    String what = "guard against packet sockets";
    String todo =
        EgressGuard.NEEDED
            + "; without it a pod's process with CAP_NET_RAW can send past the rules: take that"
            + " capability from pods";
    try {
      Result result =
          runner.run(
              List.of("unshare", "--net", "--", "nft", "-f", "-"),
              EgressGuard.script(List.of(new Interface(1, "lo", false)), plan));
      return result.succeeded()
          ? Finding.ok(what, "works")
          : Finding.warning(what, result.complaint(), todo);
    } catch (CommandException e) {
      return Finding.warning(what, e.getMessage(), todo);
    }
  }

  /// Open pods (`capture.onFailure`) have rules that ask a set which a living agent renews. No
  /// program makes the sets, and a set of iptables has to be there before the rule.
  private Finding failingOpen(RulePrograms programs, CapturePlan plan) {
    String what = "rules that let pass while no agent lives";
    String todo =
        "Should the agent be killed, what open pods begin is refused until one is back. Load the"
            + " kernel modules ip_set, ip_set_hash_net and xt_set, or take the backend nft";
    try (NetworkNamespace passing = NetworkNamespace.fresh();
        AliveSets sets = AliveSets.open(passing, programs.backend())) {
      sets.make();
      Result result =
          programs.tried(passing, NamespaceRules.of(plan.withFailsOpen(true)), IpFamily.V4, runner);
      return result.succeeded()
          ? Finding.ok(what, "work")
          : Finding.warning(what, result.complaint(), todo);
    } catch (SyscallException e) {
      return e.errno() == Errno.EPERM
          ? Finding.ok(what, "not tried: that needs CAP_SYS_ADMIN")
          : Finding.warning(what, e.getMessage(), todo);
    } catch (CommandException e) {
      return Finding.warning(what, e.getMessage(), todo);
    }
  }

  /// How rules would know an agent that is started where this runs. Either is enough.
  private Finding knownBy(RulePrograms programs) {
    OwnControlGroup.Found found = new OwnControlGroup(runner).find(programs);
    return Finding.ok(
        "how rules know the agent",
        found
            .group()
            .map(group -> "by its secret mark and its control group " + group)
            .orElseGet(() -> "by its secret mark alone: " + found.why()));
  }

  /// @param needed whether pods are to be captured so; otherwise it is never more than a warning
  private Finding onNode(RulePrograms programs, CapturePlan plan, IpFamily family, boolean needed) {
    String what = "capture on the node" + (needed ? ", " + family : "");
    NodePlan.Pod pod =
        new NodePlan.Pod(
            List.of("veth0"),
            List.of(family.localhost().address()),
            plan.withDns(CapturePlan.DNS_PORT));
    NodePlan node =
        new NodePlan(List.of(pod), List.of(), false, Optional.empty(), Optional.of(100));
    try {
      Result result = programs.tried(NamespaceRules.of(node), family, runner);
      return result.succeeded()
          ? Finding.ok(what, "works")
          : lacking(
              needed,
              what,
              result.complaint(),
              "For capture.mode node load the kernel modules of TPROXY and the socket match"
                  + (programs.backend() == RuleBackend.NFT
                      ? " (nft_tproxy, nft_socket)"
                      : " (xt_TPROXY, xt_socket, xt_CT)")
                  + "; in-pod needs neither");
    } catch (CommandException e) {
      return lacking(needed, what, e.getMessage(), "Only capture.mode node needs it");
    }
  }

  private static Finding lacking(boolean needed, String what, String found, String whatToDo) {
    return needed ? Finding.missing(what, found, whatToDo) : Finding.warning(what, found, whatToDo);
  }

  /// Not needed, so never a complaint: what `backend:` could be set to here.
  private Finding other(RuleBackend backend) {
    String what = "backend " + backend;
    List<String> reasons = new ArrayList<>();
    return RulePrograms.find(Optional.of(backend), runner, reasons)
        .map(programs -> Finding.ok(what, "could be used: " + programs.version()))
        .orElseGet(() -> Finding.ok(what, "not usable here, not needed: " + reasons.getFirst()));
  }

  /// Two runs of nft in one namespace, to learn how it tells rules back.
  private static Finding shell() {
    return Processes.find("sh")
        .map(path -> Finding.ok("sh", path.toString()))
        .orElseGet(() ->
            Finding.missing(
                "sh",
                "not found",
                "Install a shell, or take the backend iptables-nft: rules of nft cannot be verified"
                    + " without"));
  }

  private Finding tried(String what, RulePrograms programs, CapturePlan plan, IpFamily family) {
    try {
      Result result = programs.tried(NamespaceRules.of(plan), family, runner);
      if (result.succeeded()) {
        return Finding.ok(what, "works");
      }
      boolean privilege = result.complaint().contains("not permitted");
      return Finding.missing(
          what,
          result.complaint(),
          privilege
              ? "Run as root: trying rules needs CAP_SYS_ADMIN and CAP_NET_ADMIN"
              : modules(programs.backend(), family));
    } catch (CommandException e) {
      return Finding.missing(
          what,
          e.getMessage(),
          programs.backend() == RuleBackend.NFT
              ? "Install the packages nftables and util-linux"
              : "Install the packages iptables and util-linux");
    }
  }

  private static String modules(RuleBackend backend, IpFamily family) {
    boolean v4 = family == IpFamily.V4;
    return switch (backend) {
      case IPTABLES_LEGACY ->
          "Load the kernel modules "
              + (v4 ? "iptable_nat, iptable_filter" : "ip6table_nat, ip6table_filter")
              + ", nf_conntrack, xt_REDIRECT, xt_NFLOG, xt_mark, xt_connmark, xt_addrtype, xt_limit"
              + " and "
              + (v4 ? "ipt_REJECT" : "ip6t_REJECT");
      case IPTABLES_NFT ->
          "Load the kernel modules nf_tables, nft_compat, nft_chain_nat, nf_conntrack, xt_REDIRECT,"
              + " xt_NFLOG, xt_mark, xt_connmark, xt_addrtype, xt_limit and "
              + (v4 ? "ipt_REJECT" : "ip6t_REJECT");
      case NFT ->
          "Load the kernel modules nf_tables, nft_chain_nat, nft_redir, nft_ct, nft_log, nft_limit,"
              + " nft_fib_inet and nft_reject_inet";
    };
  }
}
