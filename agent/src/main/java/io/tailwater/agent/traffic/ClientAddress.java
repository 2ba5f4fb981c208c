package io.tailwater.agent.traffic;

import java.net.InetAddress;

/// The application's own end of a captured connection.
public record ClientAddress(InetAddress address, int port) {
  @Override
  public String toString() {
    return AddressText.of(address, port);
  }
}
