package io.tailwater.iptables.rule;

import java.util.ArrayList;
import java.util.List;

/// The rules that bring inbound connections to the agent, and let it go on to the pod's server in
/// the client's name: the server sees the client's own address, and what it answers, though
/// addressed to the client, comes back to the agent. Of one family. Pure.
///
/// Besides these a policy route is needed that delivers packets with [Mark#INBOUND] here: `ip rule
/// add fwmark ... lookup ...`, `ip route add local default dev lo table ...`.
final class InboundRules {
  /// Of the connections that the agent makes in a client's name. Any number but 0 would do.
  private static final int ZONE = 15006;

  private static final Match TCP = new Match.Protocol(IpProtocol.TCP);
  private static final Match LOOPBACK = new Match.OutInterface("lo");
  private static final Cidr LINK_LOCAL = Cidr.of("fe80::/10");

  private final CapturePlan plan;
  private final CapturePlan.Inbound ports;
  private final IpFamily family;

  InboundRules(CapturePlan plan, CapturePlan.Inbound ports, IpFamily family) {
    this.plan = plan;
    this.ports = ports;
    this.family = family;
  }

  /// For nat PREROUTING. What the pod sends to itself was judged in OUTPUT and is not seen here.
  List<Rule> redirected() {
    List<Rule> rules = new ArrayList<>();
    // -s 169.254.7.127/32 -p tcp -j RETURN
    rules.add(
        Rule.of(
            "the node's own programs reach the pod as without an agent: probes of the kubelet",
            new Target.Return(),
            new Match.Source(Cidr.of(ProbeRules.source(family))),
            TCP));
    if (family == IpFamily.V6) {
      // -s fe80::/10 -j RETURN
      rules.add(
          Rule.of(
              "an address that counts on one link only cannot be stood at on another",
              new Target.Return(),
              new Match.Source(LINK_LOCAL)));
    }
    // -p tcp -m tcp --dport 15008 -j RETURN
    rules.add(
        Rule.of(
            "tunnels go straight to their own listener",
            new Target.Return(),
            TCP,
            new Match.DestinationPort(IpProtocol.TCP, ports.hbonePort())));
    // -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j RETURN
    rules.add(
        Rule.of(
            "connections from before these rules go on: redirected in the middle, they would break",
            new Target.Return(),
            TCP,
            new Match.Syn().not()));
    // -p tcp -m addrtype --dst-type LOCAL -j REDIRECT --to-ports 15006
    rules.add(
        Rule.of(
            "every other TCP connection to the pod goes to the agent",
            new Target.Redirect(ports.plaintextPort()),
            TCP,
            new Match.DestinationLocal()));
    return rules;
  }

  /// For mangle OUTPUT, behind which the kernel looks for the way again.
  List<Rule> returning() {
    List<Rule> rules = new ArrayList<>();
    EscapeRules.agentsMarks(plan)
        .forEach(mark ->
            // -o lo -p tcp -m mark --mark 0x539/0xfff -m addrtype ! --src-type LOCAL
            // -j CONNMARK --set-xmark 0x7a110111/0xffffffff
            rules.add(
                new Rule(
                    inClientsName(mark),
                    new Target.SetConnectionMark(Mark.INBOUND),
                    "the agent goes on to the pod's own server in the client's name")));
    // -m connmark --mark 0x7a110111 -m conntrack --ctdir REPLY -j MARK --set-xmark 0x7a110111
    rules.add(
        Rule.of(
            "the server's answers are addressed to the client and belong to the agent",
            new Target.SetPacketMark(Mark.INBOUND),
            new Match.ConnectionMark(Mark.INBOUND),
            new Match.Reply()));
    return rules;
  }

  /// For raw OUTPUT. The agent's port may be one that the client has too, and both dial the same
  /// address of the pod: in one zone the second connection would be taken for the first. The zone
  /// is of that direction only, so that answers need no rule.
  List<Rule> zoned() {
    return EscapeRules.ownMarks(plan)
        // -o lo -p tcp -m mark --mark 0x539/0xfff -m addrtype ! --src-type LOCAL
        // -j CT --zone-orig 15006
        .map(mark ->
            new Rule(
                inClientsName(mark),
                new Target.OriginalZone(ZONE),
                "a client's port and the agent's may be the same"))
        .toList();
  }

  private static List<Match> inClientsName(Mark mark) {
    return List.of(LOOPBACK, TCP, new Match.PacketMark(mark), new Match.SourceLocal().not());
  }
}
