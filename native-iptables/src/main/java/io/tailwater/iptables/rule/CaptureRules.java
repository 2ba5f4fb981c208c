package io.tailwater.iptables.rule;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// The rules that a plan asks for in the pod's own namespace. Pure.
///
/// The chains end in RETURN and not in ACCEPT wherever a packet is left alone, so that rules of
/// others behind our jump still count. nat is consulted for the first packet of a connection only.
public final class CaptureRules {
  private static final int DNS = 53;

  /// RFC 4861, 4.3 and 4.4: without these two no neighbour is ever found, not even for answers.
  private static final int NEIGHBOUR_SOLICITATION = 135;

  private static final int NEIGHBOUR_ADVERTISEMENT = 136;
  private static final Cidr LINK_LOCAL_MULTICAST = Cidr.of("ff02::/16");

  private final CapturePlan plan;
  private final IpFamily family;
  private final EscapeRules escapes;
  private final Optional<PassRules> pass;

  private CaptureRules(CapturePlan plan, IpFamily family) {
    this.plan = plan;
    this.family = family;
    this.escapes = new EscapeRules(plan, family);
    this.pass = plan.kernelPass().map(kernel -> new PassRules(kernel, family, plan.earlier()));
  }

  /// The chains of one family. Empty for IPv6 that is left untouched.
  public static RuleSet of(CapturePlan plan, IpFamily family) {
    CaptureRules rules = new CaptureRules(plan, family);
    RuleSet whileAlive = rules.whileAlive();
    return plan.failsOpen() && !whileAlive.isEmpty() ? failingOpen(whileAlive) : whileAlive;
  }

  /// Each chain that the kernel enters is left at once while no agent lives.
  private static RuleSet failingOpen(RuleSet rules) {
    AddressSet alive = AddressSet.alive(rules.family());
    // -m set ! --match-set tailwater-alive-v4 dst -j RETURN
    Rule leave =
        Rule.of(
            "while no agent lives, everything passes: a living one renews what is in the set",
            new Target.Return(),
            new Match.Filled(alive.name()).not());
    Map<Table, List<Chain>> tables = new EnumMap<>(Table.class);
    rules
        .tables()
        .forEach((table, chains) ->
            tables.put(
                table,
                chains.stream()
                    .map(chain -> {
                      if (!chain.isHooked()) {
                        return chain;
                      }
                      List<Rule> all = new ArrayList<>(chain.rules());
                      all.add(leavesAtOnce(chain) ? 1 : 0, leave);
                      return new Chain(chain.name(), chain.hook(), all);
                    })
                    .toList()));
    List<AddressSet> sets = new ArrayList<>(rules.sets());
    sets.add(alive);
    return new RuleSet(rules.family(), tables, sets);
  }

  /// Whether it begins with what leaves it whether an agent lives or not, and for most packets.
  private static boolean leavesAtOnce(Chain chain) {
    Rule first = chain.rules().isEmpty() ? null : chain.rules().getFirst();
    return PassRules.FAST.equals(first) || PassRules.UNMARKED.equals(first);
  }

  private RuleSet whileAlive() {
    return switch (family) {
      case V4 -> capture();
      case V6 ->
          switch (plan.ipv6()) {
            case CAPTURE -> capture();
            case REFUSE -> refuse();
            case UNTOUCHED -> RuleSet.none(family);
          };
    };
  }

  private RuleSet capture() {
    Map<Table, List<Chain>> tables = new EnumMap<>(Table.class);
    List<Chain> nat = new ArrayList<>();
    nat.add(new Chain(Chain.OUTPUT, "OUTPUT", outbound()));
    List<Chain> mangle = new ArrayList<>();
    plan.inbound()
        .ifPresent(ports -> {
          InboundRules inbound = new InboundRules(plan, ports, family);
          nat.add(new Chain(Chain.PREROUTING, "PREROUTING", inbound.redirected()));
          mangle.add(new Chain(Chain.OUTPUT, "OUTPUT", inbound.returning()));
          tables.put(Table.RAW, List.of(new Chain(Chain.OUTPUT, "OUTPUT", inbound.zoned())));
        });
    tables.put(Table.NAT, nat);
    List<Chain> filter = new ArrayList<>();
    filter.add(new Chain(Chain.OUTPUT, "OUTPUT", passedOn()));
    if (plan.strictness().closed()) {
      filter.add(new Chain(Chain.FORWARD, "FORWARD", escapes.forwarded()));
    }
    pass.ifPresent(rules -> filter.addAll(List.of(rules.gate(), rules.input())));
    tables.put(Table.FILTER, filter);
    List<Rule> leaving = leaving();
    if (!leaving.isEmpty()) {
      mangle.add(new Chain(Chain.POSTROUTING, "POSTROUTING", leaving));
    }
    tables.put(Table.MANGLE, mangle);
    return new RuleSet(
        family, tables, pass.isPresent() ? List.of(KernelPass.releasable(family)) : List.of());
  }

  /// mangle POSTROUTING: nothing of ours is to be seen outside.
  private List<Rule> leaving() {
    List<Rule> rules = new ArrayList<>();
    pass.ifPresent(_ -> rules.add(PassRules.UNMARKED));
    rules.addAll(escapes.veil());
    pass.ifPresent(gate -> rules.addAll(gate.judged()));
    return rules;
  }

  /// Istio has the same rules with the conditions spread over each line; here what is left alone
  /// comes first.
  private List<Rule> outbound() {
    List<Rule> rules = new ArrayList<>(escapes.agentsConnections());
    rules.addAll(escapes.falseSource());
    rules.add(loopback());
    rules.addAll(escapes.falseDestination());
    rules.add(ownAddress());
    rules.addAll(escapes.wrongMarks());
    if (plan.earlier() == EarlierConnections.SPARED) {
      // -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j RETURN
      rules.add(
          Rule.of(
              "connections from before these rules go on: redirected in the middle, they would"
                  + " break",
              new Target.Return(),
              new Match.Protocol(IpProtocol.TCP),
              new Match.Syn().not()));
    }
    plan.dnsPort()
        .ifPresent(port -> {
          // -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053
          rules.add(
              Rule.of(
                  "DNS over UDP is answered by the agent, whichever server was asked",
                  new Target.Redirect(port),
                  new Match.Protocol(IpProtocol.UDP),
                  new Match.DestinationPort(IpProtocol.UDP, DNS)));
          // -p tcp -m tcp --dport 53 -j REDIRECT --to-ports 15053
          rules.add(
              Rule.of(
                  "DNS over TCP likewise",
                  new Target.Redirect(port),
                  new Match.Protocol(IpProtocol.TCP),
                  new Match.DestinationPort(IpProtocol.TCP, DNS)));
        });
    pass.ifPresent(gate -> rules.addAll(gate.begun()));
    // -p tcp -j REDIRECT --to-ports 15001
    rules.add(
        Rule.of(
            "every other TCP connection that leaves the pod goes to the agent",
            new Target.Redirect(plan.outboundPort()),
            new Match.Protocol(IpProtocol.TCP)));
    return rules;
  }

  /// filter sees every packet, and after nat: what was redirected goes to loopback by now.
  private List<Rule> passedOn() {
    RefusedPackets refused =
        new RefusedPackets(
            plan,
            family,
            (reason, why, matches) ->
                escapes.refused(reason, why, Target.Reject.unreachable(family), matches));
    List<Rule> rules = new ArrayList<>();
    if (pass.isPresent()) {
      // What the agent sends by hand for a gated connection passes ahead of the gate, and what it
      // revokes is denied by the gate.
      rules.add(PassRules.FAST);
      rules.addAll(escapes.outsiders());
      rules.addAll(escapes.agentsPackets());
      rules.addAll(pass.get().gated());
      rules.addAll(escapes.deniedConnections());
    } else {
      rules.addAll(escapes.deniedConnections());
      rules.addAll(escapes.outsiders());
      rules.addAll(escapes.agentsPackets());
    }
    rules.addAll(escapes.formerPackets());
    rules.add(loopback());
    rules.add(ownAddress());
    rules.add(reply());
    pass.ifPresent(_ -> rules.addAll(PassRules.invalid(plan, family)));
    rules.addAll(escapes.uncaptured());
    rules.addAll(refused.udp());
    if (plan.udp() == UdpPolicy.ALL) {
      rules.addAll(refused.icmp(linkLocal()));
    }
    if (plan.udp() == UdpPolicy.ALL || plan.strictness().knownProtocolsOnly()) {
      rules.addAll(refusedProtocols());
    }
    return rules;
  }

  private List<Rule> refusedProtocols() {
    List<Rule> rules = new ArrayList<>();
    // -p udp -j RETURN
    rules.add(
        Rule.of(
            "UDP that is not refused above",
            new Target.Return(),
            new Match.Protocol(IpProtocol.UDP)));
    // -p icmp -j RETURN
    rules.add(Rule.of("ICMP likewise", new Target.Return(), RefusedPackets.icmp(family)));
    // -j REJECT --reject-with icmp-port-unreachable
    rules.addAll(
        escapes.refused(
            Logged.PROTOCOL,
            "no protocol but TCP, UDP and ICMP leaves the pod",
            Target.Reject.unreachable(family)));
    return rules;
  }

  private RuleSet refuse() {
    List<Rule> rules = new ArrayList<>(escapes.outsiders());
    rules.addAll(escapes.agentsPackets());
    rules.addAll(escapes.formerPackets());
    rules.addAll(escapes.falseSourceWithoutNat());
    rules.add(loopback());
    rules.add(ownAddress());
    rules.add(reply());
    rules.addAll(linkLocal());
    // -p tcp -j REJECT --reject-with tcp-reset
    rules.addAll(
        escapes.refused(
            Logged.IPV6,
            "IPv6 is not captured here: clients learn at once that they have to use IPv4",
            new Target.Reject(Target.Reject.With.TCP_RESET),
            new Match.Protocol(IpProtocol.TCP)));
    // -j REJECT --reject-with icmp6-port-unreachable
    rules.addAll(
        escapes.refused(
            Logged.IPV6,
            "nor does any other protocol pass over IPv6",
            Target.Reject.unreachable(family)));
    return new RuleSet(
        family, Map.of(Table.FILTER, List.of(new Chain(Chain.OUTPUT, "OUTPUT", rules))));
  }

  /// -d 127.0.0.0/8 -j RETURN
  private Rule loopback() {
    return Rule.of(
        "loopback is left alone", new Target.Return(), new Match.Destination(family.loopback()));
  }

  /// -o lo -j RETURN
  private static Rule ownAddress() {
    return Rule.of(
        "so is what the pod sends to its own address",
        new Target.Return(),
        new Match.OutInterface("lo"));
  }

  /// Without these no neighbour is ever found.
  private static List<Rule> linkLocal() {
    return List.of(
        // -d ff02::/16 -j RETURN
        Rule.of(
            "multicast on the link: neighbour discovery, group membership",
            new Target.Return(),
            new Match.Destination(LINK_LOCAL_MULTICAST)),
        // -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j RETURN
        neighbourDiscovery("neighbour solicitation", NEIGHBOUR_SOLICITATION),
        // -p ipv6-icmp -m icmp6 --icmpv6-type 136 -j RETURN
        neighbourDiscovery("neighbour advertisement", NEIGHBOUR_ADVERTISEMENT));
  }

  /// Filter sees every packet, also the answers of a server in the pod; a connection that the other
  /// side began is not egress.
  private static Rule reply() {
    // -m conntrack --ctdir REPLY -j RETURN
    return Rule.of(
        "answers to connections that came from outside pass",
        new Target.Return(),
        new Match.Reply());
  }

  private static Rule neighbourDiscovery(String what, int type) {
    return Rule.of(
        what, new Target.Return(), new Match.Protocol(IpProtocol.ICMP6), new Match.Icmp6Type(type));
  }
}
