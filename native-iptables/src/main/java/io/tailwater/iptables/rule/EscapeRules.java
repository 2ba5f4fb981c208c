package io.tailwater.iptables.rule;

import io.tailwater.iptables.rule.Match.ConnectionState.State;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/// The rules against what pretends to be the agent and what goes round the redirection, of one
/// family. Pure.
///
/// nat sees the first packet of a connection only, so that is where a connection is judged; nat may
/// not drop, so it marks the connection DENIED, and filter refuses all that carries this.
final class EscapeRules {
  private static final Match LIMIT = new Match.RateLimit(Logged.PER_SECOND, Logged.AT_ONCE);

  private static final Match TCP = new Match.Protocol(IpProtocol.TCP);
  private static final Match LOOPBACK = new Match.OutInterface("lo");
  private static final Match MARKED = new Match.PacketMark(Mark.NONE).not();
  private static final Match DENIED = new Match.ConnectionMark(Mark.DENIED);

  private final CapturePlan plan;
  private final IpFamily family;

  EscapeRules(CapturePlan plan, IpFamily family) {
    this.plan = plan;
    this.family = family;
  }

  /// For nat: new connections of the agent's own sockets pass. By mark alone: filter asks for the
  /// control group, so that it may change without nat being written anew.
  List<Rule> agentsConnections() {
    return agentsMarks(plan)
        .map(mark ->
            // -m mark --mark 0x539/0xfff -j RETURN
            Rule.of(
                "packets of the agent's own sockets pass: redirected, they would come back to"
                    + " it for ever",
                new Target.Return(),
                new Match.PacketMark(mark)))
        .toList();
  }

  /// The marks that new connections of the agent's own sockets carry.
  static Stream<Mark> agentsMarks(CapturePlan plan) {
    return Stream.concat(Stream.of(plan.agent()), plan.strictness().joining().stream());
  }

  /// For filter, ahead of the agent's packets: the agent's mark on what a socket outside its
  /// control group begins. Nobody has a secret mark by chance, so open pods are no exception. What
  /// has begun goes on, because packets without a socket have no group: resets of the kernel's,
  /// answers in TIME_WAIT.
  ///
  /// Two rules, because nf_tables cannot say "not in this group": to it a socket higher up than the
  /// group's level has none, and no comparison holds.
  List<Rule> outsiders() {
    return plan.strictness().cgroup().stream()
        .flatMap(group -> agentsMarks(plan).flatMap(mark -> outsiders(mark, group).stream()))
        .toList();
  }

  private List<Rule> outsiders(Mark mark, ControlGroup group) {
    Match marked = new Match.PacketMark(mark);
    Match begins = new Match.ConnectionState(State.INVALID, State.NEW, State.UNTRACKED);
    List<Rule> rules = new ArrayList<>();
    // -m mark --mark 0x1a2b3c4d -m conntrack --ctstate INVALID,NEW,UNTRACKED -m cgroup --path a/b
    // -j RETURN
    rules.add(
        Rule.of(
            "what the agent begins, in its control group",
            new Target.Return(),
            marked,
            begins,
            new Match.Cgroup(group)));
    // -m mark --mark 0x1a2b3c4d -m conntrack --ctstate INVALID,NEW,UNTRACKED
    // -m owner --socket-exists -j REJECT
    rules.addAll(
        refused(
            Logged.MARK,
            "the agent's mark, but not the agent: a socket outside its control group",
            Target.Reject.unreachable(family),
            marked,
            begins,
            new Match.OwnerExists()));
    return rules;
  }

  /// For filter: packets of the agent's own sockets pass.
  List<Rule> agentsPackets() {
    return packets(agentsMarks(plan));
  }

  /// For filter, behind the denied connections: nothing begins with a mark that was replaced.
  List<Rule> formerPackets() {
    return packets(ownMarks(plan).skip(agentsMarks(plan).count()));
  }

  private static List<Rule> packets(Stream<Mark> marks) {
    return marks
        .map(mark ->
            // -m mark --mark 0x539/0xfff -j RETURN
            Rule.of(
                "packets of the agent's own sockets pass",
                new Target.Return(),
                new Match.PacketMark(mark)))
        .toList();
  }

  /// All that the agent has and had.
  static Stream<Mark> ownMarks(CapturePlan plan) {
    return Stream.of(
            Stream.of(plan.agent()),
            plan.strictness().joining().stream(),
            plan.strictness().former().stream())
        .flatMap(marks -> marks)
        .distinct();
  }

  /// For mangle POSTROUTING: a filter on any socket can read the mark of a packet that reaches it,
  /// and packet sockets are reached by all.
  List<Rule> veil() {
    return ownMarks(plan)
        .filter(Mark::isWhole)
        .map(mark ->
            // -m mark --mark 0x1a2b3c4d -j MARK --set-xmark 0x0/0xffffffff
            Rule.of(
                "the secret mark has done its work, and nobody is to read it from a packet",
                new Target.SetPacketMark(Mark.NONE),
                new Match.PacketMark(mark)))
        .toList();
  }

  /// For nat, ahead of what leaves loopback alone: a false source there would make an entry by
  /// which a connection of the pod's own looks like an answer.
  List<Rule> falseSource() {
    return denied(
        Logged.UNCAPTURED,
        "nobody in this namespace has that address: a connection to it is being prepared",
        LOOPBACK,
        new Match.SourceLocal().not());
  }

  /// For nat, likewise: with SO_BINDTODEVICE lo any program can send there what is meant for
  /// outside, and the entry that this makes would let its next connection past the redirection.
  List<Rule> falseDestination() {
    return denied(
        Logged.UNCAPTURED,
        "not meant for loopback: a connection that is not redirected is being prepared",
        LOOPBACK,
        new Match.Destination(multicast()).not(),
        new Match.DestinationLocal().not());
  }

  private Cidr multicast() {
    return switch (family) {
      case V4 -> Cidr.of("224.0.0.0/4");
      case V6 -> Cidr.of("ff00::/8");
    };
  }

  /// For nat: marks that are not the agent's.
  List<Rule> wrongMarks() {
    if (plan.strictness().closed()) {
      return denied(Logged.MARK, "somebody else's mark: it pretends to be the agent", MARKED);
    }
    return log(Logged.MARK_CAPTURED, "somebody else's mark: captured all the same", MARKED)
        .map(List::of)
        .orElse(List.of());
  }

  private List<Rule> denied(Logged reason, String why, Match... matches) {
    List<Rule> rules = new ArrayList<>();
    log(reason, why, matches).ifPresent(rules::add);
    // ... -j CONNMARK --set-xmark 0x20/0x20
    rules.add(new Rule(List.of(matches), new Target.SetConnectionMark(Mark.DENIED), why));
    return rules;
  }

  /// For filter, ahead of what leaves loopback alone: a redirected connection goes there.
  List<Rule> deniedConnections() {
    String why = "nat has found that this connection pretends to be something else";
    return List.of(
        // -p tcp -m connmark --mark 0x20/0x20 -j REJECT --reject-with tcp-reset
        Rule.of(why, new Target.Reject(Target.Reject.With.TCP_RESET), TCP, DENIED),
        // -m connmark --mark 0x20/0x20 -j REJECT --reject-with icmp-port-unreachable
        Rule.of(why, Target.Reject.unreachable(family), DENIED));
  }

  /// For filter, behind the agent's packets, loopback and answers. In a closed pod no other TCP can
  /// be here. In others there are connections from before the rules came, and those that began
  /// while somebody had flushed the redirection: what is in the middle goes on, what begins does
  /// not.
  List<Rule> uncaptured() {
    if (plan.earlier() == EarlierConnections.CUT) {
      // -p tcp -j REJECT --reject-with tcp-reset
      return refused(
          Logged.UNCAPTURED,
          "TCP that nobody redirected: by an entry made before, or by forged packets",
          new Target.Reject(Target.Reject.With.TCP_RESET),
          TCP);
    }
    // -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j REJECT --reject-with tcp-reset
    List<Rule> rules =
        new ArrayList<>(
            refused(
                Logged.UNCAPTURED,
                "a connection that begins and that nobody redirected",
                new Target.Reject(Target.Reject.With.TCP_RESET),
                TCP,
                new Match.Syn()));
    // -p tcp -m conntrack --ctstate INVALID,UNTRACKED -j DROP
    rules.addAll(
        refused(
            Logged.UNCAPTURED,
            "flags or fragments that make no connection, or not tracked: nat does not look at them",
            new Target.Drop(),
            TCP,
            new Match.ConnectionState(State.INVALID, State.UNTRACKED)));
    return rules;
  }

  /// For filter of a family that is refused, where nat does not judge first packets.
  List<Rule> falseSourceWithoutNat() {
    return refused(
        Logged.UNCAPTURED,
        "nobody in this namespace has that address: a connection to it is being prepared",
        new Target.Drop(),
        LOOPBACK,
        new Match.ConnectionState(State.NEW),
        new Match.SourceLocal().not());
  }

  /// For filter FORWARD: what others let this pod send for them would leave uncaptured.
  List<Rule> forwarded() {
    List<Rule> rules = new ArrayList<>();
    // -m conntrack --ctdir REPLY -j RETURN
    rules.add(
        Rule.of("answers of what is behind this pod", new Target.Return(), new Match.Reply()));
    // -j REJECT --reject-with icmp-port-unreachable
    rules.addAll(
        refused(
            Logged.UNCAPTURED,
            "forwarded packets are not captured",
            Target.Reject.unreachable(family)));
    return rules;
  }

  /// A refusal with its line in the log.
  List<Rule> refused(Logged reason, String why, Target target, Match... matches) {
    List<Rule> rules = new ArrayList<>();
    log(reason, why, matches).ifPresent(rules::add);
    rules.add(new Rule(List.of(matches), target, why));
    return rules;
  }

  /// `... -m limit --limit 50/sec --limit-burst 100 -j NFLOG --nflog-prefix tailwater:udp`
  Optional<Rule> log(Logged reason, String why, Match... matches) {
    return plan.strictness()
        .log()
        .map(group ->
            new Rule(
                Stream.concat(Stream.of(matches), Stream.of(LIMIT)).toList(),
                new Target.Log(reason.prefix(), group, Logged.BYTES),
                "told: " + why));
  }
}
