package io.tailwater.agent.dataplane.transport;

import io.netty.channel.ServerChannel;
import io.netty.channel.socket.SocketChannel;
import java.net.StandardProtocolFamily;

/// Where the sockets for a pod are born, and what they carry: the only difference between the
/// capture modes on the data path. Called on platform threads that are neither loops nor virtual:
/// the capture thread and the socket makers.
public interface SocketPlace {
  /// A listening socket of the pod, not bound yet.
  ServerChannel listener();

  /// A socket to dial from, not connected yet.
  ///
  /// @throws RuntimeException when the namespace is gone or descriptors have run out
  SocketChannel socket(StandardProtocolFamily family);

  /// Whether the pod can speak IPv6 at all.
  boolean hasIpv6();
}
