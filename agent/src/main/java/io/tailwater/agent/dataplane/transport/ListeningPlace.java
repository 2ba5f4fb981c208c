package io.tailwater.agent.dataplane.transport;

import java.net.InetAddress;
import java.util.List;

/// Where a capture port listens, and how connections come to it. Called on the capture thread.
public interface ListeningPlace {
  /// The addresses to bind, each with a socket of its own; several sockets may share one.
  List<InetAddress> addresses();

  /// A listening socket for one of them, not bound yet.
  ///
  /// @throws RuntimeException when the namespace is gone or descriptors have run out
  ListeningSocket listener(InetAddress at);

  /// Whether an accepted socket stands at the address that was dialled, as TPROXY brings it;
  /// otherwise connections are redirected, and the kernel is asked what was dialled.
  boolean isTransparent();
}
