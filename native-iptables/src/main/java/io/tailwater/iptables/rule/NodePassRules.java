package io.tailwater.iptables.rule;

import io.tailwater.iptables.rule.Match.ConnectionState.State;
import io.tailwater.iptables.rule.Match.NoneOf.Flag;
import java.util.ArrayList;
import java.util.List;

/// The rules of a [KernelPass] in the node's namespace, of one family; those of a pod's own are
/// [PassRules]. Pure.
///
/// Connections that go out as themselves are in the common conntrack zone, unlike those that the
/// agent takes: in raw the set decides which. In mangle PREROUTING, where TPROXY would take them,
/// they are marked and queued; what is refused there is answered in filter. A packet of a released
/// connection, whichever pod it belongs to, meets one rule of ours in mangle and one in filter
/// besides the lists of raw.
final class NodePassRules {
  private static final Match TCP = new Match.Protocol(IpProtocol.TCP);
  private static final Match SYN = new Match.Syn();
  private static final Match GATE = new Match.ConnectionMark(KernelPass.GATE);

  /// Let open to be read, and not released.
  private static final Match UNJUDGED =
      new Match.ConnectionMark(
          new Mark(KernelPass.GATE.value(), KernelPass.GATE.mask() | KernelPass.RELEASED.mask()));

  private static final Match RST = new Match.NoneOf(Flag.RST).not();
  private static final String MIDDLE = Chain.PREFIX + "MIDDLE";

  private final NodePlan plan;
  private final IpFamily family;

  NodePassRules(NodePlan plan, IpFamily family) {
    this.plan = plan;
    this.family = family;
  }

  /// Whether a pod's connections of this family may go out as themselves.
  boolean concerns(CapturePlan pod) {
    return pod.kernelPass().isPresent() && (family == IpFamily.V4 || pod.ipv6() == Ipv6.CAPTURE);
  }

  private List<NodePlan.Pod> pods() {
    return plan.pods().stream().filter(pod -> concerns(pod.plan())).toList();
  }

  List<AddressSet> sets() {
    return pods().isEmpty() ? List.of() : List.of(KernelPass.releasableOnNode(family));
  }

  private Match releasable() {
    return new Match.InSet(KernelPass.releasableOnNode(family).name(), "dst,dst,src");
  }

  /// For raw, ahead of what puts a pod's connections into a zone.
  List<Rule> inCommonZone(CapturePlan pod, Cidr address) {
    // -s 10.244.0.2/32 -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m set --match-set
    // tailwater-node-pass-v4 dst,dst,src -j RETURN
    return concerns(pod)
        ? List.of(
            Rule.of(
                "to an address that the agent has looked up for this pod: it goes out as itself",
                new Target.Return(),
                new Match.Source(address),
                TCP,
                SYN,
                releasable()))
        : List.of();
  }

  /// First in mangle PREROUTING: both directions of all pods.
  List<Rule> first() {
    return pods().stream()
        .limit(1)
        .flatMap(pod -> pod.plan().kernelPass().stream())
        .flatMap(pass -> List.of(PassRules.FAST, PassRules.ended(pass)).stream())
        .toList();
  }

  /// For a pod's chain in mangle, behind what the agent has taken and ahead of what hands new
  /// connections to it.
  List<Rule> begun(CapturePlan pod, String gate) {
    if (!concerns(pod)) {
      return List.of();
    }
    List<Rule> rules = new ArrayList<>(PassRules.invalid(pod, family));
    rules.addAll(
        List.of(
            // -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate NEW -m set
            // --match-set tailwater-node-pass-v4 dst,dst,src -j CONNMARK --set-xmark 0x4/0x4
            Rule.of(
                "it is held until the agent has read what it says first",
                new Target.SetConnectionMark(KernelPass.GATE),
                TCP,
                SYN,
                new Match.ConnectionState(State.NEW),
                releasable()),
            // -p tcp -m connmark --mark 0x4/0x4 -j TAILWATER_GATE_veth1
            Rule.of("connections that go out as themselves", new Target.Jump(gate), TCP, GATE),
            // -p tcp -m connmark --mark 0x4/0x4 -j RETURN
            Rule.of("what the gate lets pass of them passes", new Target.Return(), TCP, GATE),
            // -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m connmark --mark 0x200/0x200 -m set
            // --match-set tailwater-node-pass-v4 dst,dst,src -j MARK --set-xmark 0x800/0x800
            Rule.of(
                "the agent has a connection of its own with these addresses and ports: the pod"
                    + " takes another port",
                new Target.SetPacketMark(NodePlan.REFUSED),
                TCP,
                SYN,
                new Match.ConnectionMark(NodePlan.LOCAL),
                releasable()),
            // -p tcp -m mark --mark 0x800/0x800 -j RETURN
            Rule.of(
                "so it is answered in filter",
                new Target.Return(),
                TCP,
                new Match.PacketMark(NodePlan.REFUSED))));
    return rules;
  }

  /// A pod's chain for connections with GATE; never data of released ones.
  List<Rule> gate(KernelPass pass) {
    List<Rule> rules = new ArrayList<>();
    // -p tcp -m tcp ! --tcp-flags RST NONE -m bpf --bytecode "..." -j DROP
    rules.add(
        Rule.of(
            "a reset carries nothing", //
            new Target.Drop(),
            TCP,
            RST,
            new Match.Payload(family)));
    // -p tcp -m tcp ! --tcp-flags RST NONE -j RETURN
    rules.add(Rule.of("resets pass", new Target.Return(), TCP, RST));
    // -p tcp -m connmark --mark 0x24/0x24 -j RETURN
    rules.add(
        Rule.of(
            "what the agent has denied is answered in filter",
            new Target.Return(),
            TCP,
            PassRules.REVOKED));
    // -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m connmark --mark 0x4/0x6
    // -m conntrack --ctstate ESTABLISHED -j DROP
    rules.add(
        Rule.of(
            "a server that has answered goes on with the first beginning, so nor does the agent"
                + " take another while it has not judged what is said",
            new Target.Drop(),
            TCP,
            SYN,
            UNJUDGED,
            new Match.ConnectionState(State.ESTABLISHED)));
    PassRules gate = new PassRules(pass, family, EarlierConnections.SPARED);
    rules.addAll(PassRules.renewed());
    // -j TTL --ttl-set 64
    rules.add(
        Rule.of(
            "what the agent reads reaches the server, or something else could in its place",
            new Target.HopLimit(family, KernelPass.HOP_LIMIT)));
    rules.add(gate.beginning());
    rules.add(gate.said());
    return rules;
  }

  /// First in filter FORWARD.
  List<Rule> firstForwarded() {
    return pods().isEmpty() ? List.of() : List.of(PassRules.FAST);
  }

  /// For filter INPUT and FORWARD.
  List<Rule> denied() {
    return pods().isEmpty() ? List.of() : List.of(PassRules.revoked());
  }

  /// For filter FORWARD, last.
  List<Rule> unknown() {
    // -p tcp -m tcp --tcp-flags SYN,RST NONE -m conntrack --ctstate NEW -j TAILWATER_MIDDLE
    return closed().isEmpty()
        ? List.of()
        : List.of(
            Rule.of(
                "the middle of a connection that nobody knows",
                new Target.Jump(MIDDLE),
                TCP,
                new Match.NoneOf(Flag.SYN, Flag.RST),
                new Match.ConnectionState(State.NEW)));
  }

  /// The chain that [#unknown] jumps to.
  List<Chain> middle() {
    List<Rule> rules = new ArrayList<>();
    for (NodePlan.Pod pod : closed()) {
      for (Cidr address : pod.addresses(family)) {
        // -d 10.244.0.2/32 -p tcp -j REJECT --reject-with tcp-reset
        rules.add(
            Rule.of(
                "with an entry made by it, what the pod sends would count as an answer",
                new Target.Reject(Target.Reject.With.TCP_RESET),
                new Match.Destination(address),
                TCP));
      }
    }
    return rules.isEmpty() ? List.of() : List.of(Chain.called(MIDDLE, rules));
  }

  private List<NodePlan.Pod> closed() {
    return pods().stream().filter(pod -> pod.plan().earlier() == EarlierConnections.CUT).toList();
  }
}
