package io.tailwater.agent.dataplane.transport;

import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.StandardProtocolFamily;
import java.util.List;
import java.util.Optional;

/// Sockets born on the node that stand at the pod's own address: servers see the pod. What they are
/// answered is addressed to the pod, and the rules of the node lead it back by the mark of the
/// connection.
public final class NodeSockets implements SocketPlace {
  private final Transport transport;
  private final int mark;
  private final Optional<InetAddress> v4;
  private final Optional<InetAddress> v6;

  /// @param addresses the pod's; of each family the first one is used
  public NodeSockets(Transport transport, int mark, List<InetAddress> addresses) {
    this.transport = transport;
    this.mark = mark;
    this.v4 = addresses.stream().filter(Inet4Address.class::isInstance).findFirst();
    this.v6 = addresses.stream().filter(address -> !(address instanceof Inet4Address)).findFirst();
  }

  @Override
  public void sockets(StandardProtocolFamily family, int count, List<StreamSocket> made) {
    InetAddress source =
        (family == StandardProtocolFamily.INET6 ? v6 : v4)
            .orElseThrow(() ->
                new IllegalStateException(
                    "the pod has no "
                        + (family == StandardProtocolFamily.INET6 ? "IPv6" : "IPv4")
                        + " address"));
    for (int i = 0; i < count; i++) {
      made.add(transport.socketAt(source, mark));
    }
  }

  @Override
  public boolean hasIpv6() {
    return v6.isPresent();
  }
}
