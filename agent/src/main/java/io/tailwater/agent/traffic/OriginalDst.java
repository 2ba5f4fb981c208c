package io.tailwater.agent.traffic;

import java.net.InetAddress;
import java.net.InetSocketAddress;

/// The address that the application dialled, before it was redirected to the agent.
public record OriginalDst(InetAddress address, int port) {
  public OriginalDst {
    if (port < 0 || port > 65535) {
      throw new IllegalArgumentException("port " + port);
    }
  }

  /// The same as a socket address.
  public InetSocketAddress socketAddress() {
    return new InetSocketAddress(address, port);
  }

  @Override
  public String toString() {
    return AddressText.of(address, port);
  }
}
