package io.tailwater.agent.dataplane.transport;

import java.net.InetAddress;
import java.net.StandardProtocolFamily;

/// A pod's own loopback, where its redirected DNS arrives. Called on the capture thread.
public interface LoopbackPlace {
  /// A UDP socket, not bound yet.
  ///
  /// @throws RuntimeException when the namespace is gone or descriptors have run out
  UdpSocket udp(StandardProtocolFamily family);

  /// A listening socket for one of the two addresses, not bound yet.
  ///
  /// @throws RuntimeException when the namespace is gone or descriptors have run out
  ListeningSocket listener(InetAddress at);

  /// Whether the pod can speak IPv6 at all.
  boolean hasIpv6();
}
