package io.tailwater.agent.dataplane.transport;

import io.tailwater.iptables.netlink.NetlinkPoller;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.util.List;

/// Where TPROXY brings the connections of all pods of the node: the loopback addresses, which
/// nobody outside can dial.
public final class NodeListening implements ListeningPlace {
  private static final InetAddress LOOPBACK_4 = InetAddress.ofLiteral("127.0.0.1");
  private static final InetAddress LOOPBACK_6 = InetAddress.ofLiteral("::1");

  private final Transport transport;
  private final int mark;
  private final NetlinkPoller poller;
  private final boolean ipv6;

  /// @param poller on whose thread UDP is received
  /// @param mark on everything that the agent answers a pod
  public NodeListening(Transport transport, NetlinkPoller poller, int mark, boolean ipv6) {
    this.transport = transport;
    this.poller = poller;
    this.mark = mark;
    this.ipv6 = ipv6;
  }

  @Override
  public List<InetAddress> addresses() {
    return ipv6 ? List.of(LOOPBACK_4, LOOPBACK_6) : List.of(LOOPBACK_4);
  }

  @Override
  public ListeningSocket listener(InetAddress at) {
    return transport.transparentListener(
        at instanceof Inet6Address ? StandardProtocolFamily.INET6 : StandardProtocolFamily.INET,
        mark);
  }

  /// UDP that TPROXY brings to one of the addresses; open from now on.
  ///
  /// @param dialledPort that pods send to
  /// @throws RuntimeException when a port cannot be had
  public DialledUdp dialledUdp(InetSocketAddress at, int dialledPort, DialledUdp.Intake intake) {
    return DialledUdp.open(poller, at, dialledPort, mark, intake);
  }

  @Override
  public boolean isTransparent() {
    return true;
  }
}
