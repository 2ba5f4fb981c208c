package io.tailwater.agent.traffic;

import java.net.Inet6Address;
import java.net.InetAddress;

/// The application's own end of a captured connection.
public record ClientAddress(InetAddress address, int port) {
  @Override
  public String toString() {
    String host = address.getHostAddress();
    return address instanceof Inet6Address ? "[" + host + "]:" + port : host + ":" + port;
  }
}
