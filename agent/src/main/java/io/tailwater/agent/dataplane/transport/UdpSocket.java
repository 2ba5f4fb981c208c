package io.tailwater.agent.dataplane.transport;

import io.netty.channel.EventLoop;
import java.net.InetSocketAddress;

/// A UDP socket of a pod that is asked and answers, on one loop.
public interface UdpSocket {
  /// Takes what comes in, on the loop.
  interface Intake {
    /// One packet, whole; the intake's now.
    void received(byte[] packet, InetSocketAddress from);
  }

  /// Binds and reads from now on. Blocks until it does; not on a loop.
  ///
  /// @throws Exception why it cannot
  void open(EventLoop loop, InetSocketAddress address, Intake intake) throws Exception;

  /// Sends one packet from the bound address; it is lost where the kernel has no room for it. On
  /// the loop.
  void send(byte[] packet, InetSocketAddress to);

  /// From now on other sockets that share the address get what comes; what this one has got already
  /// is taken, and it still sends. Blocks until that is so; not on a loop.
  void takeNoMore();

  /// Closes, and blocks until it is closed; not on a loop.
  void close();
}
