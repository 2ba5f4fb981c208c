package io.tailwater.agent.dataplane.transport;

import java.net.StandardProtocolFamily;
import java.util.List;

/// Where the sockets for a pod are born, and what they carry: the only difference between the
/// capture modes on the data path. Called on platform threads that are neither loops nor virtual:
/// the capture thread and the socket makers.
public interface SocketPlace {
  /// Makes sockets to dial from, not connected yet, with keep-alive, and adds them to `made` one by
  /// one: when it throws, those in the list are good. Several at once, because entering a namespace
  /// costs more than a socket.
  ///
  /// @throws RuntimeException when the namespace is gone or descriptors have run out
  void sockets(StandardProtocolFamily family, int count, List<StreamSocket> made);

  /// Whether the pod can speak IPv6 at all.
  boolean hasIpv6();

  /// Whether it is this place, or one that is gone with it.
  default boolean isOf(SocketPlace place) {
    return equals(place);
  }
}
