package io.tailwater.iptables.rule;

import java.util.ArrayList;
import java.util.List;

/// What a plan refuses of UDP and ICMP, in the pod's namespace and on the node alike; how a packet
/// is refused differs. Pure.
final class RefusedPackets {
  private static final int DNS = 53;
  private static final int QUIC = 443;

  private final CapturePlan plan;
  private final IpFamily family;
  private final Refusal refusal;

  /// How a packet is refused, with its line in the log.
  interface Refusal {
    List<Rule> of(Logged reason, String why, Match... matches);
  }

  RefusedPackets(CapturePlan plan, IpFamily family, Refusal refusal) {
    this.plan = plan;
    this.family = family;
    this.refusal = refusal;
  }

  List<Rule> udp() {
    return switch (plan.udp()) {
      case OFF -> List.of();
      case QUIC ->
          // -p udp -m udp --dport 443
          refusal.of(
              Logged.UDP,
              "QUIC is refused at once, so that clients fall back to TCP, where a name can be seen",
              new Match.Protocol(IpProtocol.UDP),
              new Match.DestinationPort(IpProtocol.UDP, QUIC));
      case ALL -> {
        List<Rule> rules = new ArrayList<>();
        if (plan.dnsPort().isEmpty()) {
          // -p udp -m udp --dport 53 -j RETURN
          rules.add(
              Rule.of(
                  "DNS is not captured, so it has to pass",
                  new Target.Return(),
                  new Match.Protocol(IpProtocol.UDP),
                  new Match.DestinationPort(IpProtocol.UDP, DNS)));
        }
        // -p udp
        rules.addAll(
            refusal.of(
                Logged.UDP, "no other UDP leaves the pod", new Match.Protocol(IpProtocol.UDP)));
        yield rules;
      }
    };
  }

  /// Answers have passed by now; errors belong to a connection that was let through.
  ///
  /// @param linkLocal what IPv6 needs to find its neighbours
  List<Rule> icmp(List<Rule> linkLocal) {
    List<Rule> rules = new ArrayList<>();
    if (family == IpFamily.V6) {
      rules.addAll(linkLocal);
    }
    // -p icmp -m conntrack --ctstate RELATED -j RETURN
    rules.add(
        Rule.of(
            "errors about what passed, without which path MTU discovery fails",
            new Target.Return(),
            icmp(family),
            new Match.ConnectionState(Match.ConnectionState.State.RELATED)));
    // -p icmp
    rules.addAll(refusal.of(Logged.ICMP, "no other ICMP leaves the pod", icmp(family)));
    return rules;
  }

  /// The family's own ICMP.
  static Match icmp(IpFamily family) {
    return new Match.Protocol(
        switch (family) {
          case V4 -> IpProtocol.ICMP;
          case V6 -> IpProtocol.ICMP6;
        });
  }
}
