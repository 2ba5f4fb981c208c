package io.tailwater.iptables.rule;

import io.tailwater.iptables.rule.Match.ConnectionState.State;
import io.tailwater.iptables.rule.Match.NoneOf.Flag;
import java.util.ArrayList;
import java.util.List;

/// The rules of a [KernelPass] in a pod's own namespace, of one family; those of the node are
/// [NodePassRules]. Pure.
///
/// nat marks the connection with GATE by its SYN. In filter OUTPUT its SYN is logged and its data
/// queued until it is released; filter, because a verdict that refuses can send the packet to the
/// rule that resets it, whatever conntrack thinks of the connection. A packet that was let go marks
/// the connection as released on its way out. A packet of a released connection meets one rule of
/// ours in OUTPUT, one in POSTROUTING, and one in INPUT.
final class PassRules {
  private static final Match TCP = new Match.Protocol(IpProtocol.TCP);
  private static final Match GATE = new Match.ConnectionMark(KernelPass.GATE);
  private static final Match RELEASED = new Match.ConnectionMark(KernelPass.RELEASED);

  /// Both bits: denied by the gate, not by nat.
  static final Match REVOKED =
      new Match.ConnectionMark(
          new Mark(
              KernelPass.GATE.value() | Mark.DENIED.value(),
              KernelPass.GATE.mask() | Mark.DENIED.mask()));

  private static final Match NO_RST = new Match.NoneOf(Flag.RST);
  private static final Match ENDING = new Match.NoneOf(Flag.FIN, Flag.RST).not();
  private static final Target RESET = new Target.Reject(Target.Reject.With.TCP_RESET);
  private static final String CHAIN = Chain.PREFIX + "GATE";
  private static final String INPUT = Chain.PREFIX + "INPUT";
  private static final String END = "tailwater:end";
  private static final String BEGIN = "tailwater:begin";

  /// IPv6 and TCP headers with all options.
  private static final int LOGGED_BYTES = 128;

  /// First of all, where every packet comes by.
  // -p tcp -m tcp --tcp-flags FIN,SYN,RST NONE -m connmark --mark 0x2/0x2 -j RETURN
  static final Rule FAST =
      Rule.of(
          "a connection that the agent has released: nothing else looks at its packets",
          new Target.Return(),
          TCP,
          new Match.NoneOf(Flag.FIN, Flag.SYN, Flag.RST),
          RELEASED);

  /// First in POSTROUTING.
  // -m mark --mark 0x0/0xffffffff -j RETURN
  static final Rule UNMARKED =
      Rule.of(
          "nothing to hide and nothing to change", //
          new Target.Return(),
          new Match.PacketMark(Mark.NONE));

  private final KernelPass pass;
  private final IpFamily family;
  private final EarlierConnections earlier;

  PassRules(KernelPass pass, IpFamily family, EarlierConnections earlier) {
    this.pass = pass;
    this.family = family;
    this.earlier = earlier;
  }

  /// For nat OUTPUT, ahead of the redirection.
  List<Rule> begun() {
    return List.of(
        // -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m set --match-set tailwater-pass-v4
        // dst,dst -j CONNMARK --set-xmark 0x4/0x4
        Rule.of(
            "to an address that the agent has looked up: it goes out as itself, and is held until"
                + " the agent has read what it says first",
            new Target.SetConnectionMark(KernelPass.GATE),
            TCP,
            new Match.Syn(),
            new Match.InSet(KernelPass.releasable(family).name(), "dst,dst")),
        // -m connmark --mark 0x4/0x4 -j RETURN
        Rule.of("so it is not redirected", new Target.Return(), GATE));
  }

  /// For filter OUTPUT, behind the agent's own packets and ahead of everything else.
  List<Rule> gated() {
    return List.of(
        // -p tcp -m connmark --mark 0x4/0x4 -j TAILWATER_GATE
        Rule.of("connections that go out as themselves", new Target.Jump(CHAIN), TCP, GATE),
        // -p tcp -m connmark --mark 0x4/0x4 -j RETURN
        Rule.of("what the gate lets pass of them passes", new Target.Return(), TCP, GATE));
  }

  /// Where all other TCP that nobody redirected is reset or handed to the agent, ahead of that.
  static List<Rule> invalid(CapturePlan pod, IpFamily family) {
    String why =
        "flags that make no connection, or outside the window of a released one: a reset would end"
            + " it";
    Match invalid = new Match.ConnectionState(State.INVALID);
    List<Rule> rules = new ArrayList<>();
    // -p tcp -m tcp --tcp-flags RST NONE -m conntrack --ctstate INVALID ... -j NFLOG ...: not of
    // resets, which come late of honest connections that have ended
    new EscapeRules(pod, family)
        .log(Logged.UNCAPTURED, why, TCP, NO_RST, invalid)
        .ifPresent(rules::add);
    // -p tcp -m conntrack --ctstate INVALID -j DROP
    rules.add(Rule.of(why, new Target.Drop(), TCP, invalid));
    return rules;
  }

  /// In filter, only for connections with GATE and never for data of released ones.
  Chain gate() {
    List<Rule> rules = new ArrayList<>();
    // -p tcp -m mark --mark 0x7a110600/0xffffffff -j DROP
    rules.add(
        Rule.of(
            "what the agent has let go does not come here: somebody else has set its mark",
            new Target.Drop(),
            TCP,
            new Match.PacketMark(KernelPass.JUDGED_AND_RELEASED)));
    // -p tcp -m tcp ! --tcp-flags RST NONE -m bpf --bytecode "..." -j DROP
    rules.add(
        Rule.of(
            "a reset carries nothing",
            new Target.Drop(),
            TCP,
            NO_RST.not(),
            new Match.Payload(family)));
    rules.add(ended(pass));
    // -p tcp -m tcp ! --tcp-flags RST NONE -j RETURN
    rules.add(
        Rule.of(
            "resets pass, also those of the rules below", new Target.Return(), TCP, NO_RST.not()));
    // -p tcp -m mark --mark 0x7a110800/0xffffffff -j REJECT --reject-with tcp-reset
    rules.add(
        Rule.of(
            "the agent has refused this very packet",
            RESET,
            TCP,
            new Match.PacketMark(KernelPass.REFUSED)));
    // -p tcp -m connmark --mark 0x24/0x24 -j REJECT --reject-with tcp-reset
    rules.add(Rule.of("the agent has denied this connection", RESET, TCP, REVOKED));
    rules.addAll(renewed());
    // -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j NFLOG --nflog-prefix tailwater:begin ...
    rules.add(
        Rule.of(
            "the agent learns where the bytes begin",
            new Target.Log(BEGIN, pass.beginGroup(), LOGGED_BYTES),
            TCP,
            new Match.Syn()));
    rules.add(said());
    return Chain.called(CHAIN, rules);
  }

  /// What comes before the queue in both places.
  static List<Rule> renewed() {
    return List.of(
        // -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m connmark --mark 0x2/0x2
        // -j CONNMARK --set-xmark 0x0/0x2
        Rule.of(
            "a new beginning on an old entry is not released",
            new Target.SetConnectionMark(new Mark(0, KernelPass.RELEASED.mask())),
            TCP,
            new Match.Syn(),
            RELEASED),
        // -p tcp -m connmark --mark 0x2/0x2 -j RETURN
        Rule.of("the last packets of a released connection", new Target.Return(), TCP, RELEASED));
  }

  /// On the node, where nobody tells packets of sockets from others: `-p tcp -m tcp --tcp-flags
  /// FIN,SYN,RST,ACK SYN -j NFQUEUE --queue-num 1501`
  Rule beginning() {
    return Rule.of("the agent learns where the bytes begin", queue(), TCP, new Match.Syn());
  }

  /// `-p tcp -m bpf --bytecode "..." -j NFQUEUE --queue-num 1501`: empty segments never wait, so
  /// that the handshake ends, and what the server says is acknowledged.
  Rule said() {
    return Rule.of("and judges what is said first", queue(), TCP, new Match.Payload(family));
  }

  private Target queue() {
    return new Target.Queue(pass.queue(), pass.bypass());
  }

  /// `-p tcp -m connmark --mark 0x2/0x2 -m tcp ! --tcp-flags FIN,RST NONE -j NFLOG ...`
  static Rule ended(KernelPass pass) {
    return Rule.of(
        "how a released connection ends, by which its bytes are counted",
        new Target.Log(END, pass.endGroup(), LOGGED_BYTES),
        TCP,
        ENDING,
        RELEASED);
  }

  /// For mangle POSTROUTING, behind [#UNMARKED] and the agent's marks.
  List<Rule> judged() {
    Match judged = new Match.PacketMark(KernelPass.JUDGED_EITHER);
    return List.of(
        // -m mark --mark 0x7a110600/0xffffffff -m connmark --mark 0x4/0x4 -j CONNMARK --set-xmark
        // 0x2/0x2
        Rule.of(
            "the agent has let it go: from now on nothing else of its connection is looked at",
            new Target.SetConnectionMark(KernelPass.RELEASED),
            new Match.PacketMark(KernelPass.JUDGED_AND_RELEASED),
            GATE),
        // -m mark --mark 0x7a110400/0xfffffdff -j TTL --ttl-set 64
        Rule.of(
            "what the agent has read reaches the server, or something else could in its place",
            new Target.HopLimit(family, KernelPass.HOP_LIMIT),
            judged),
        // -m mark --mark 0x7a110400/0xfffffdff -j MARK --set-xmark 0x0/0xffffffff
        Rule.of("this mark, too, is nobody else's", new Target.SetPacketMark(Mark.NONE), judged));
  }

  /// Filter INPUT: what servers send.
  Chain input() {
    List<Rule> rules = new ArrayList<>(List.of(FAST, ended(pass), revoked()));
    if (earlier == EarlierConnections.CUT) {
      // ! -i lo -p tcp -m tcp --tcp-flags SYN,RST NONE -m conntrack --ctstate NEW -j REJECT ...
      rules.add(
          Rule.of(
              "the middle of a connection that nobody knows: with an entry made by it, what the"
                  + " pod sends would count as an answer",
              RESET,
              new Match.InInterface("lo").not(),
              TCP,
              new Match.NoneOf(Flag.SYN, Flag.RST),
              new Match.ConnectionState(State.NEW)));
    }
    return new Chain(INPUT, "INPUT", rules);
  }

  /// `-p tcp -m tcp --tcp-flags RST NONE -m connmark --mark 0x24/0x24 -j REJECT ...`: what the
  /// server still sends.
  static Rule revoked() {
    return Rule.of(
        "the agent has denied this connection: the other side learns it",
        RESET,
        TCP,
        NO_RST,
        REVOKED);
  }
}
