package io.tailwater.iptables.rule;

import java.util.Optional;

/// What is to be captured in one pod's namespace. Both families in one plan.
///
/// Made from [#egress] by `with...`, or by [#toBuilder] where several things change.
///
/// @param agent mark of the agent's own packets, which no rule touches
/// @param outboundPort where outbound TCP is redirected to
/// @param dnsPort where DNS is redirected to, if it is captured
/// @param inbound where inbound TCP is redirected to, if it is captured
/// @param earlier what becomes of connections from before
/// @param failsOpen whether everything passes while no agent lives: the rules ask
///   [AddressSet#alive], which the agent renews
/// @param strictness how the agent is known, and what pretends to be it or goes round it
/// @param kernelPass how connections go out as themselves, if any may
public record CapturePlan(
    Mark agent,
    int outboundPort,
    Ipv6 ipv6,
    UdpPolicy udp,
    Optional<Integer> dnsPort,
    Optional<Inbound> inbound,
    EarlierConnections earlier,
    boolean failsOpen,
    Strictness strictness,
    Optional<KernelPass> kernelPass) {
  /// Port of outbound capture, Istio's.
  public static final int OUTBOUND_PORT = 15001;

  /// Port of DNS capture, Istio's.
  public static final int DNS_PORT = 15053;

  /// Inbound capture: TCP to any port but the one that HBONE listens on.
  public record Inbound(int plaintextPort, int hbonePort) {
    /// Istio's ports.
    public static final Inbound STANDARD = new Inbound(15006, 15008);

    /// The routing table that delivers in the pod whatever it is asked for. Not Istio's, which may
    /// be there for itself.
    public static final int ROUTE_TABLE = 15006;

    /// The preference of the rule that leads packets with [Mark#INBOUND] there: before `main`.
    public static final int RULE_PREFERENCE = 32763;

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
    return new Builder().build();
  }

  /// This plan, to be changed.
  public Builder toBuilder() {
    return new Builder(this);
  }

  public CapturePlan withAgent(Mark mark) {
    return toBuilder().agent(mark).build();
  }

  public CapturePlan withOutboundPort(int port) {
    return toBuilder().outboundPort(port).build();
  }

  public CapturePlan withIpv6(Ipv6 policy) {
    return toBuilder().ipv6(policy).build();
  }

  public CapturePlan withUdp(UdpPolicy policy) {
    return toBuilder().udp(policy).build();
  }

  public CapturePlan withDns(int port) {
    return toBuilder().dnsPort(Optional.of(port)).build();
  }

  public CapturePlan withInbound(Inbound ports) {
    return toBuilder().inbound(Optional.of(ports)).build();
  }

  public CapturePlan withEarlier(EarlierConnections connections) {
    return toBuilder().earlier(connections).build();
  }

  public CapturePlan withFailsOpen(boolean open) {
    return toBuilder().failsOpen(open).build();
  }

  public CapturePlan withStrictness(Strictness how) {
    return toBuilder().strictness(how).build();
  }

  public CapturePlan withKernelPass(KernelPass pass) {
    return toBuilder().kernelPass(Optional.of(pass)).build();
  }

  /// A plan in the making. A new part of the plan has its default here, and a line each in the copy
  /// and in [#build]. One thread.
  public static final class Builder {
    private Mark agent = Mark.AGENT;
    private int outboundPort = OUTBOUND_PORT;
    private Ipv6 ipv6 = Ipv6.CAPTURE;
    private UdpPolicy udp = UdpPolicy.OFF;
    private Optional<Integer> dnsPort = Optional.empty();
    private Optional<Inbound> inbound = Optional.empty();
    private EarlierConnections earlier = EarlierConnections.SPARED;
    private boolean failsOpen;
    private Strictness strictness = Strictness.NONE;
    private Optional<KernelPass> kernelPass = Optional.empty();

    private Builder() {}

    private Builder(CapturePlan plan) {
      agent = plan.agent;
      outboundPort = plan.outboundPort;
      ipv6 = plan.ipv6;
      udp = plan.udp;
      dnsPort = plan.dnsPort;
      inbound = plan.inbound;
      earlier = plan.earlier;
      failsOpen = plan.failsOpen;
      strictness = plan.strictness;
      kernelPass = plan.kernelPass;
    }

    public Builder agent(Mark mark) {
      agent = mark;
      return this;
    }

    public Builder outboundPort(int port) {
      outboundPort = port;
      return this;
    }

    public Builder ipv6(Ipv6 policy) {
      ipv6 = policy;
      return this;
    }

    public Builder udp(UdpPolicy policy) {
      udp = policy;
      return this;
    }

    public Builder dnsPort(Optional<Integer> port) {
      dnsPort = port;
      return this;
    }

    public Builder inbound(Optional<Inbound> ports) {
      inbound = ports;
      return this;
    }

    public Builder earlier(EarlierConnections connections) {
      earlier = connections;
      return this;
    }

    public Builder failsOpen(boolean open) {
      failsOpen = open;
      return this;
    }

    public Builder strictness(Strictness how) {
      strictness = how;
      return this;
    }

    public Builder kernelPass(Optional<KernelPass> pass) {
      kernelPass = pass;
      return this;
    }

    /// @throws IllegalArgumentException for a plan that would capture nothing or cannot be said
    public CapturePlan build() {
      return new CapturePlan(
          agent, //
          outboundPort,
          ipv6,
          udp,
          dnsPort,
          inbound,
          earlier,
          failsOpen,
          strictness,
          kernelPass);
    }
  }
}
