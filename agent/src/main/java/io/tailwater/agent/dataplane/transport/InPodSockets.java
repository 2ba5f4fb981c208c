package io.tailwater.agent.dataplane.transport;

import io.tailwater.iptables.netns.NetworkNamespace;
import java.net.InetAddress;
import java.net.StandardProtocolFamily;
import java.util.List;

/// Sockets born inside the pod's network namespace: they have the pod's addresses and routes, and
/// the agent's mark, which the capture rules let pass.
public final class InPodSockets implements SocketPlace, ListeningPlace, LoopbackPlace {
  private final NetworkNamespace namespace;
  private final Transport transport;
  private final AgentMark mark;
  private final boolean ipv6;

  public InPodSockets(
      NetworkNamespace namespace, Transport transport, AgentMark mark, boolean ipv6) {
    this.namespace = namespace;
    this.transport = transport;
    this.mark = mark;
    this.ipv6 = ipv6;
  }

  /// All of the pod's addresses; for both families at once where the pod has IPv6.
  @Override
  public List<InetAddress> addresses() {
    return List.of(InetAddress.ofLiteral(ipv6 ? "::" : "0.0.0.0"));
  }

  @Override
  public boolean isTransparent() {
    return false;
  }

  @Override
  public ListeningSocket listener(InetAddress at) {
    return namespace.call(() ->
        transport.listener(
            ipv6 ? StandardProtocolFamily.INET6 : StandardProtocolFamily.INET, mark.value()));
  }

  @Override
  public UdpSocket udp(StandardProtocolFamily family) {
    return namespace.call(() -> transport.udp(family, mark.value()));
  }

  @Override
  public void sockets(StandardProtocolFamily family, int count, List<StreamSocket> made) {
    namespace.call(() -> {
      for (int i = 0; i < count; i++) {
        made.add(transport.socket(family, mark.value()));
      }
      return made;
    });
  }

  /// Sockets that stand at a client's address; as [#sockets] otherwise.
  void socketsAt(InetAddress client, int count, List<StreamSocket> made) {
    namespace.call(() -> {
      for (int i = 0; i < count; i++) {
        made.add(transport.socketAt(client, mark.value()));
      }
      return made;
    });
  }

  /// Where sockets are born to go on to the pod's own servers in a client's name.
  public SocketPlace inNameOf(InetAddress client) {
    return new ClientSockets(this, client);
  }

  @Override
  public boolean hasIpv6() {
    return ipv6;
  }
}
