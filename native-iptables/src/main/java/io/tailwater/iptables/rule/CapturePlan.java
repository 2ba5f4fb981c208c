package io.tailwater.iptables.rule;

import java.util.Optional;

/// What is to be captured in one pod's namespace. Both families in one plan.
///
/// @param agent mark of the agent's own packets, which no rule touches
/// @param outboundPort where outbound TCP is redirected to
/// @param dnsPort where DNS is redirected to, if it is captured
/// @param inbound where inbound TCP is redirected to, if it is captured
/// @param earlier what becomes of connections from before
public record CapturePlan(
    Mark agent,
    int outboundPort,
    Ipv6 ipv6,
    UdpPolicy udp,
    Optional<Integer> dnsPort,
    Optional<Inbound> inbound,
    EarlierConnections earlier) {
  /// Port of outbound capture, Istio's.
  public static final int OUTBOUND_PORT = 15001;

  /// Port of DNS capture, Istio's.
  public static final int DNS_PORT = 15053;

  /// Inbound capture: TCP to any port but the one that HBONE listens on.
  public record Inbound(int plaintextPort, int hbonePort) {
    /// Istio's ports.
    public static final Inbound STANDARD = new Inbound(15006, 15008);

    public Inbound {
      Names.checkPort(plaintextPort);
      Names.checkPort(hbonePort);
    }
  }

  public CapturePlan {
    Names.checkPort(outboundPort);
    dnsPort.ifPresent(Names::checkPort);
    if (agent.value() == 0) {
      throw new IllegalArgumentException(
          "The agent's mark is 0, which every packet has: nothing would be captured");
    }
  }

  /// Outbound TCP of both families to [#OUTBOUND_PORT]; UDP is not refused, DNS and inbound are not
  /// captured.
  public static CapturePlan egress() {
    return new CapturePlan(
        Mark.AGENT,
        OUTBOUND_PORT,
        Ipv6.CAPTURE,
        UdpPolicy.OFF,
        Optional.empty(),
        Optional.empty(),
        EarlierConnections.SPARED);
  }

  public CapturePlan withAgent(Mark mark) {
    return new CapturePlan(mark, outboundPort, ipv6, udp, dnsPort, inbound, earlier);
  }

  public CapturePlan withOutboundPort(int port) {
    return new CapturePlan(agent, port, ipv6, udp, dnsPort, inbound, earlier);
  }

  public CapturePlan withIpv6(Ipv6 policy) {
    return new CapturePlan(agent, outboundPort, policy, udp, dnsPort, inbound, earlier);
  }

  public CapturePlan withUdp(UdpPolicy policy) {
    return new CapturePlan(agent, outboundPort, ipv6, policy, dnsPort, inbound, earlier);
  }

  public CapturePlan withDns(int port) {
    return new CapturePlan(agent, outboundPort, ipv6, udp, Optional.of(port), inbound, earlier);
  }

  public CapturePlan withInbound(Inbound ports) {
    return new CapturePlan(agent, outboundPort, ipv6, udp, dnsPort, Optional.of(ports), earlier);
  }

  public CapturePlan withEarlier(EarlierConnections connections) {
    return new CapturePlan(agent, outboundPort, ipv6, udp, dnsPort, inbound, connections);
  }
}
