package io.tailwater.agent.dataplane.transport;

import java.net.InetAddress;
import java.net.StandardProtocolFamily;
import java.util.List;

/// Sockets born in a pod's namespace that stand at the address of one of its clients, with a port
/// that the kernel chooses: the pod's own server sees the client. What it answers is led back here
/// by the rules of inbound capture and their policy route.
record ClientSockets(InPodSockets pod, InetAddress client) implements SocketPlace {
  @Override
  public void sockets(StandardProtocolFamily family, int count, List<StreamSocket> made) {
    pod.socketsAt(client, count, made);
  }

  @Override
  public boolean hasIpv6() {
    return pod.hasIpv6();
  }

  @Override
  public boolean isOf(SocketPlace place) {
    return place.equals(pod) || place.equals(this);
  }
}
