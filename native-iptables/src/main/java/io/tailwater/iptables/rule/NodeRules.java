package io.tailwater.iptables.rule;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.zip.CRC32;

/// The rules that a plan asks for in the node's namespace. Pure.
///
/// A pod has a chain in `raw` (is it really the pod's address; which conntrack zone) and one in
/// `mangle` (what becomes of the packet), so that a pod that comes or goes changes these and the
/// two lists that lead there. Nothing in them depends on what the pod does in its own namespace:
/// marks do not cross from there, and packets of raw sockets come by here like all others.
///
/// Needs the policy route from [NodePlan#LOCAL] to [NodePlan#ROUTE_TABLE]. Where it is missing the
/// packets that belong there are dropped.
public final class NodeRules {
  private static final int DNS = 53;

  /// So many times what is answered of a pod's questions may reach the agent: twice as many get an
  /// answer, if only that they are too many, and a burst is no flood.
  private static final int FLOOD = 5;

  private static final int NEIGHBOUR_SOLICITATION = 135;
  private static final int NEIGHBOUR_ADVERTISEMENT = 136;
  private static final Cidr LINK_LOCAL = Cidr.of("fe80::/10");
  private static final Cidr UNSPECIFIED = Cidr.of("::/128");
  private static final Cidr LINK_LOCAL_MULTICAST = Cidr.of("ff02::/16");

  private static final String SENDER = Chain.PREFIX + "FROM_";
  private static final String POD = Chain.PREFIX + "POD_";
  private static final String GATE = Chain.PREFIX + "GATE_";
  private static final String DNS_OF = Chain.PREFIX + "DNS_";
  private static final String STRANGER = Chain.PREFIX + "STRANGER";
  private static final String HERE = Chain.PREFIX + "HERE";
  private static final String INPUT = Chain.PREFIX + "INPUT";
  private static final String FORWARD = Chain.PREFIX + "FORWARD";

  private final NodePlan plan;
  private final IpFamily family;
  private final NodePassRules pass;
  private final Optional<Match.RateLimit> questions;

  private NodeRules(NodePlan plan, IpFamily family) {
    this.plan = plan;
    this.family = family;
    this.pass = new NodePassRules(plan, family);
    this.questions = plan.answered().flatMap(NodeRules::questions);
  }

  /// The chains of one family. Empty where no pod wants anything of it.
  public static RuleSet of(NodePlan plan, IpFamily family) {
    return new NodeRules(plan, family).rules();
  }

  private RuleSet rules() {
    List<NodePlan.Pod> pods = plan.pods().stream().filter(this::concerned).toList();
    if (pods.isEmpty() && plan.strangers().isEmpty()) {
      return RuleSet.none(family);
    }
    Map<Table, List<Chain>> tables = new EnumMap<>(Table.class);
    tables.put(Table.FILTER, filter());
    tables.put(Table.RAW, raw(pods));
    tables.put(Table.MANGLE, mangle(pods));
    tables.put(Table.NAT, List.of(new Chain(Chain.PREROUTING, "PREROUTING", translation())));
    List<AddressSet> sets = new ArrayList<>(pass.sets());
    if (plan.strangersFailOpen() || pods.stream().anyMatch(pod -> pod.plan().failsOpen())) {
      sets.add(AddressSet.alive(family));
    }
    return new RuleSet(family, tables, sets);
  }

  private boolean concerned(NodePlan.Pod pod) {
    return family == IpFamily.V4 || pod.plan().ipv6() != Ipv6.UNTOUCHED;
  }

  // ---- raw: before connection tracking

  private List<Chain> raw(List<NodePlan.Pod> pods) {
    List<Chain> chains = new ArrayList<>();
    List<Rule> list = new ArrayList<>();
    for (NodePlan.Pod pod : pods) {
      for (String name : pod.interfaces()) {
        // -i veth1 -g TAILWATER_FROM_veth1
        list.add(
            Rule.of(
                "what comes from " + name + ", which is no stranger's even if it matches",
                new Target.GoTo(chain(SENDER, name)),
                new Match.InInterface(name)));
        chains.add(Chain.called(chain(SENDER, name), sender(pod)));
      }
    }
    for (String pattern : plan.strangers()) {
      // -i cali+ -j TAILWATER_STRANGER
      list.add(fromInterface(pattern, STRANGER));
    }
    if (!plan.strangers().isEmpty()) {
      chains.add(Chain.called(STRANGER, strangers()));
    }
    chains.add(new Chain(Chain.PREROUTING, "PREROUTING", list));
    chains.add(
        new Chain(
            Chain.OUTPUT,
            "OUTPUT",
            List.of(
                // -p tcp -m mark --mark 0x538/0xfff -j CT --zone 133
                Rule.of(
                    "what the agent answers a pod is in the zone of what the pod said",
                    new Target.ConntrackZone(NodePlan.ZONE),
                    new Match.Protocol(IpProtocol.TCP),
                    new Match.PacketMark(NodePlan.ACCEPTED)),
                // -p udp -m mark --mark 0x538/0xfff -j CT --notrack
                Rule.of(
                    "its answers to DNS make no entry: the pod's next question would look like the"
                        + " answer to one, and others might translate its source",
                    new Target.Untracked(),
                    new Match.Protocol(IpProtocol.UDP),
                    new Match.PacketMark(NodePlan.ACCEPTED)))));
    return chains;
  }

  private List<Rule> strangers() {
    CapturePlan unknown =
        CapturePlan.egress()
            .withStrictness(plan.log().map(Strictness.NONE::withLog).orElse(Strictness.NONE));
    List<Rule> rules = new ArrayList<>();
    if (plan.strangersFailOpen()) {
      rules.add(leaveUnlessAlive());
    }
    // -j DROP
    rules.addAll(
        new EscapeRules(unknown, family)
            .refused(
                Logged.UNKNOWN_SOURCE,
                "the interface of no pod that is known: nothing passes until it is",
                new Target.Drop()));
    return rules;
  }

  private List<Rule> sender(NodePlan.Pod pod) {
    List<Rule> rules = new ArrayList<>();
    for (Cidr address : pod.addresses(family)) {
      rules.add(zoneOfTaken(address));
    }
    if (pod.plan().failsOpen()) {
      rules.add(leaveUnlessAlive());
    }
    for (Cidr address : pod.addresses(family)) {
      // ! -s 10.244.0.2/32: who is not the pod goes on to the end of the chain, which drops it
      rules.addAll(pass.inCommonZone(pod.plan(), address));
      rules.add(zoneOfNew(address));
      rules.add(Rule.of("the pod's own address", new Target.Return(), new Match.Source(address)));
    }
    if (family == IpFamily.V6) {
      // -s fe80::/10 -p ipv6-icmp -j RETURN
      rules.add(neighbours("neighbours are found from link-local addresses", LINK_LOCAL));
      // -s ::/128 -p ipv6-icmp -j RETURN
      rules.add(neighbours("an address is asked for before it is one's own", UNSPECIFIED));
    }
    // -j DROP
    rules.addAll(
        new EscapeRules(pod.plan(), family)
            .refused(
                Logged.UNKNOWN_SOURCE,
                "nobody else's address: answers would not come to the pod, nor would its policy"
                    + " hold",
                new Target.Drop()));
    return rules;
  }

  /// -m set ! --match-set tailwater-alive-v4 dst -j RETURN
  private Rule leaveUnlessAlive() {
    return Rule.of(
        "while no agent lives, everything passes: a living one renews what is in the set",
        new Target.Return(),
        new Match.Filled(AddressSet.alive(family).name()).not());
  }

  /// -m set ! --match-set tailwater-alive-v4 dst -m connmark --mark 0x200/0x200 -j CONNMARK ...
  private Rule forgetUpstream() {
    return Rule.of(
        "a port that a dead agent had last: what the server answers is the pod's now",
        new Target.SetConnectionMark(new Mark(0, NodePlan.LOCAL.mask())),
        new Match.Filled(AddressSet.alive(family).name()).not(),
        new Match.ConnectionMark(NodePlan.LOCAL));
  }

  private static Rule zoneOfNew(Cidr address) {
    // -s 10.244.0.2/32 -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j CT --zone 133
    return Rule.of(
        "a connection that the pod begins has a zone of its own: between agent and server the"
            + " same addresses and ports may occur",
        new Target.ConntrackZone(NodePlan.ZONE),
        new Match.Source(address),
        new Match.Protocol(IpProtocol.TCP),
        new Match.Syn());
  }

  private static Rule zoneOfTaken(Cidr address) {
    // -s 10.244.0.2/32 -p tcp -m socket --transparent -j CT --zone-orig 133
    return Rule.of(
        "what the agent has taken is found there, answers of servers in the pod outside",
        new Target.OriginalZone(NodePlan.ZONE),
        new Match.Source(address),
        new Match.Protocol(IpProtocol.TCP),
        new Match.TransparentSocket());
  }

  private static Rule neighbours(String why, Cidr source) {
    return Rule.of(
        why, new Target.Return(), new Match.Source(source), new Match.Protocol(IpProtocol.ICMP6));
  }

  // ---- mangle: who gets the packet

  private List<Chain> mangle(List<NodePlan.Pod> pods) {
    List<Rule> list = new ArrayList<>(pass.first());
    List<Chain> chains = new ArrayList<>();
    // -m connmark --mark 0x200/0x200 -m conntrack --ctdir REPLY -j TAILWATER_HERE
    list.add(answered("what servers answer to the agent, which stands at the pod's address"));
    for (NodePlan.Pod pod : pods) {
      for (String name : pod.interfaces()) {
        list.add(fromInterface(name, chain(POD, name)));
        chains.add(Chain.called(chain(POD, name), pod(pod.plan(), name)));
        if (questions.isPresent() && asks(pod.plan())) {
          chains.add(Chain.called(chain(DNS_OF, name), flood(pod.plan(), questions.get())));
        }
        if (pass.concerns(pod.plan())) {
          KernelPass kernel = pod.plan().kernelPass().orElseThrow();
          chains.add(Chain.called(chain(GATE, name), pass.gate(kernel)));
        }
      }
    }
    chains.add(
        Chain.called(
            HERE,
            List.of(
                // -j MARK --set-xmark 0x200/0x200
                Rule.of(
                    "delivered on the node, whatever the address",
                    new Target.SetPacketMark(NodePlan.LOCAL)),
                Rule.of("and nothing else", new Target.Accept()))));
    chains.add(new Chain(Chain.PREROUTING, "PREROUTING", list));
    chains.add(
        new Chain(
            Chain.OUTPUT,
            "OUTPUT",
            List.of(
                // -m mark --mark 0x539/0xfff -m conntrack --ctdir ORIGINAL -j CONNMARK ...
                Rule.of(
                    "connections that the agent begins are known by their mark",
                    new Target.SetConnectionMark(NodePlan.LOCAL),
                    new Match.PacketMark(NodePlan.UPSTREAM),
                    new Match.Original()),
                answered("the same for servers on the node itself"))));
    return chains;
  }

  private static Rule answered(String why) {
    return Rule.of(
        why, new Target.Jump(HERE), new Match.ConnectionMark(NodePlan.LOCAL), new Match.Reply());
  }

  private List<Rule> pod(CapturePlan of, String name) {
    List<Rule> rules = new ArrayList<>();
    // -m conntrack --ctdir REPLY -j RETURN
    rules.add(
        Rule.of(
            "answers to connections that came from outside pass",
            new Target.Return(),
            new Match.Reply()));
    if (family == IpFamily.V6 && of.ipv6() == Ipv6.REFUSE) {
      if (of.failsOpen()) {
        rules.add(leaveUnlessAlive());
      }
      rules.addAll(refusedIpv6(of));
      return rules;
    }
    // -p tcp -m socket --transparent -j TAILWATER_HERE
    rules.add(
        Rule.of(
            "connections that the agent has taken",
            new Target.Jump(HERE),
            new Match.Protocol(IpProtocol.TCP),
            new Match.TransparentSocket()));
    if (of.failsOpen()) {
      rules.add(forgetUpstream());
      rules.add(leaveUnlessAlive());
    }
    rules.addAll(pass.begun(of, chain(GATE, name)));
    if (of.earlier() == EarlierConnections.SPARED) {
      // -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j RETURN
      rules.add(
          Rule.of(
              "connections from before these rules go on: taken in the middle, they would break",
              new Target.Return(),
              new Match.Protocol(IpProtocol.TCP),
              new Match.Syn().not()));
    } else {
      // -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j NFLOG ...
      new EscapeRules(of, family)
          .log(
              Logged.UNCAPTURED,
              "part of no connection: the agent's listener resets it, unless it ends a handshake"
                  + " that the kernel keeps in a cookie",
              new Match.Protocol(IpProtocol.TCP),
              new Match.Syn().not())
          .ifPresent(rules::add);
    }
    of.dnsPort().ifPresent(port -> dns(rules, port, chain(DNS_OF, name)));
    toAgent(rules, "every other TCP connection that the pod begins goes to the agent", of);
    RefusedPackets refused =
        new RefusedPackets(of, family, (reason, why, matches) -> refused(of, reason, why, matches));
    rules.addAll(refused.udp());
    if (of.udp() == UdpPolicy.ALL) {
      rules.addAll(refused.icmp(linkLocal()));
    }
    if (of.udp() == UdpPolicy.ALL || of.strictness().knownProtocolsOnly()) {
      rules.addAll(refusedProtocols(of));
    }
    return rules;
  }

  private void dns(List<Rule> rules, int port, String flood) {
    if (questions.isPresent()) {
      // -p udp -m udp --dport 53 -j TAILWATER_DNS_veth1
      rules.add(
          Rule.of(
              "one socket is asked by all pods: none may fill it alone",
              new Target.Jump(flood),
              new Match.Protocol(IpProtocol.UDP),
              new Match.DestinationPort(IpProtocol.UDP, DNS)));
    }
    for (IpProtocol protocol : List.of(IpProtocol.UDP, IpProtocol.TCP)) {
      Match dns = new Match.DestinationPort(protocol, DNS);
      // -p udp -m udp --dport 53 -j TPROXY --on-port 15053 --on-ip 127.0.0.1 --tproxy-mark ...
      rules.add(
          Rule.of(
              "DNS over " + protocol + " is answered by the agent, whichever server was asked",
              tproxy(port),
              new Match.Protocol(protocol),
              dns));
      // -p udp -m udp --dport 53 -j MARK --set-xmark 0x800/0x800
      rules.add(refused("nobody answers", new Match.Protocol(protocol), dns));
    }
  }

  private boolean asks(CapturePlan of) {
    return of.dnsPort().isPresent() && !(family == IpFamily.V6 && of.ipv6() == Ipv6.REFUSE);
  }

  /// Where that much cannot be said, or is less than gets answers, there is no limit.
  private static Optional<Match.RateLimit> questions(int answered) {
    long wanted = Math.min((long) answered * FLOOD, Match.RateLimit.LARGEST);
    return wanted < 2L * answered
        ? Optional.empty()
        : Optional.of(Match.RateLimit.atLeast((int) wanted));
  }

  private List<Rule> flood(CapturePlan of, Match.RateLimit limit) {
    List<Rule> rules = new ArrayList<>();
    // -m limit --limit 500/sec --limit-burst 500 -j RETURN
    rules.add(Rule.of("as many as the agent deals with", new Target.Return(), limit));
    // -j DROP
    rules.addAll(
        new EscapeRules(of, family)
            .refused(
                Logged.DNS_FLOOD,
                "what the agent would leave unanswered too, when it had taken time from others",
                new Target.Drop()));
    return rules;
  }

  private void toAgent(List<Rule> rules, String why, CapturePlan of) {
    // -p tcp -j TPROXY --on-port 15001 --on-ip 127.0.0.1 --tproxy-mark 0x200/0x200
    rules.add(Rule.of(why, tproxy(of.outboundPort()), new Match.Protocol(IpProtocol.TCP)));
    // -p tcp -j MARK --set-xmark 0x800/0x800
    rules.add(refused("nobody listens", new Match.Protocol(IpProtocol.TCP)));
  }

  /// On the loopback address nobody else can dial the listener.
  private Target tproxy(int port) {
    return new Target.Tproxy(family.localhost().address(), port, NodePlan.LOCAL);
  }

  private List<Rule> refusedProtocols(CapturePlan of) {
    List<Rule> rules = new ArrayList<>();
    for (Match known :
        List.of(
            new Match.Protocol(IpProtocol.TCP),
            new Match.Protocol(IpProtocol.UDP),
            RefusedPackets.icmp(family))) {
      // -p udp -j RETURN
      rules.add(Rule.of("what is not refused above", new Target.Return(), known));
    }
    rules.addAll(refused(of, Logged.PROTOCOL, "no protocol but TCP, UDP and ICMP leaves the pod"));
    return rules;
  }

  private List<Rule> refusedIpv6(CapturePlan of) {
    List<Rule> rules = new ArrayList<>(linkLocal());
    rules.addAll(
        refused(
            of,
            Logged.IPV6,
            "IPv6 is not captured here: clients learn that they have to use IPv4"));
    return rules;
  }

  /// Without these no neighbour is ever found.
  private static List<Rule> linkLocal() {
    List<Rule> rules = new ArrayList<>();
    // -d ff02::/16 -j RETURN
    rules.add(
        Rule.of(
            "multicast on the link: neighbour discovery, group membership",
            new Target.Return(),
            new Match.Destination(LINK_LOCAL_MULTICAST)));
    for (int type : List.of(NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT)) {
      // -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j RETURN
      rules.add(
          Rule.of(
              "neighbour discovery",
              new Target.Return(),
              new Match.Protocol(IpProtocol.ICMP6),
              new Match.Icmp6Type(type)));
    }
    return rules;
  }

  /// `... -j MARK --set-xmark 0x800/0x800`, with its line in the log.
  private List<Rule> refused(CapturePlan of, Logged reason, String why, Match... matches) {
    return new EscapeRules(of, family)
        .refused(reason, why, new Target.SetPacketMark(NodePlan.REFUSED), matches);
  }

  private static Rule refused(String why, Match... matches) {
    return Rule.of(why, new Target.SetPacketMark(NodePlan.REFUSED), matches);
  }

  // ---- nat and filter

  private List<Rule> translation() {
    return List.of(
        // -m mark --mark 0x200/0x200 -j ACCEPT
        Rule.of(
            "what the agent takes keeps the address that was dialled, also that of a Service",
            new Target.KeepDestination(),
            new Match.PacketMark(NodePlan.LOCAL)));
  }

  private List<Chain> filter() {
    List<Rule> input = new ArrayList<>();
    // -m mark --mark 0x200/0x200 -j ACCEPT
    input.add(
        Rule.of(
            "what is for the agent reaches it, whatever the node's own services may",
            new Target.Accept(),
            new Match.PacketMark(NodePlan.LOCAL)));
    input.addAll(rejected());
    input.addAll(pass.denied());
    List<Rule> forward = new ArrayList<>(pass.firstForwarded());
    // -m mark --mark 0x200/0x200 -j DROP
    forward.add(
        Rule.of(
            "what is for the agent does not leave where its route is missing",
            new Target.Drop(),
            new Match.PacketMark(NodePlan.LOCAL)));
    forward.addAll(rejected());
    forward.addAll(pass.denied());
    forward.addAll(pass.unknown());
    List<Chain> chains = new ArrayList<>(pass.middle());
    chains.add(new Chain(INPUT, "INPUT", input));
    chains.add(new Chain(FORWARD, "FORWARD", forward));
    return chains;
  }

  private List<Rule> rejected() {
    return List.of(
        // -p tcp -m mark --mark 0x800/0x800 -j REJECT --reject-with tcp-reset
        Rule.of(
            "refused before; the sender learns it at once",
            new Target.Reject(Target.Reject.With.TCP_RESET),
            new Match.Protocol(IpProtocol.TCP),
            new Match.PacketMark(NodePlan.REFUSED)),
        // -m mark --mark 0x800/0x800 -j REJECT --reject-with icmp-port-unreachable
        Rule.of(
            "likewise for all that is not TCP",
            Target.Reject.unreachable(family),
            new Match.PacketMark(NodePlan.REFUSED)));
  }

  private static Rule fromInterface(String name, String chain) {
    return Rule.of("what comes from " + name, new Target.Jump(chain), new Match.InInterface(name));
  }

  /// A chain is named by its interface where that is a name for a chain in both languages, and not
  /// too long a one for iptables (28 with the prefix); else by a number made from it.
  private static String chain(String prefix, String name) {
    if (name.matches("[a-z0-9]{1,13}")) {
      return prefix + name;
    }
    CRC32 sum = new CRC32();
    sum.update(name.getBytes(java.nio.charset.StandardCharsets.UTF_8));
    return prefix + String.format(Locale.ROOT, "0-%08x", sum.getValue());
  }
}
