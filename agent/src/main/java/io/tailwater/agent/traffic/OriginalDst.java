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

  // By hand, as in other keys of the hot path: the generated ones are chains of method handles,
  // which the first compiler (C1) does not take apart.
  @Override
  public boolean equals(Object other) {
    return this == other
        || (other instanceof OriginalDst that && port == that.port && address.equals(that.address));
  }

  @Override
  public int hashCode() {
    return 31 * address.hashCode() + port;
  }

  @Override
  public String toString() {
    return AddressText.of(address, port);
  }
}
