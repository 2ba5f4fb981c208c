package io.tailwater.agent.dataplane.transport;

import io.netty.channel.EventLoop;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.InetSocketAddress;
import java.util.Optional;

/// A listening TCP socket.
public interface ListeningSocket {
  /// Takes what is accepted, on the loop.
  interface Intake {
    /// A connection, the intake's now. `redirected` is what the peer dialled before it was
    /// redirected, empty where it was not.
    void accepted(StreamSocket socket, InetSocketAddress peer, Optional<OriginalDst> redirected);

    /// Nothing could be accepted, for instance because descriptors have run out.
    void failed(Throwable why);
  }

  /// Binds and listens. Blocks until it does; not on a loop.
  ///
  /// @throws Exception why it cannot
  void open(EventLoop loop, InetSocketAddress address, int backlog, Intake intake) throws Exception;

  /// Stops accepting for the time being. On the loop.
  void pause();

  /// Goes on accepting. On the loop.
  void resume();

  /// Closes, and blocks until it is closed; not on a loop.
  void close();
}
