package io.tailwater.agent.dataplane.transport;

import io.netty.channel.Channel;
import io.netty.channel.IoHandlerFactory;
import io.netty.channel.ServerChannel;
import io.netty.channel.socket.SocketChannel;
import io.tailwater.agent.traffic.OriginalDst;
import java.net.StandardProtocolFamily;
import java.util.Optional;

/// One way to do socket I/O. Stateless; any thread. Implementations: [EpollTransport],
/// [IoUringTransport]; NIO exists in tests only, because it has no mark and no original
/// destination.
public interface Transport {
  /// epoll, io_uring: as the configuration names it.
  String name();

  /// What an event loop of this transport is made of.
  IoHandlerFactory ioHandlers();

  /// A listening socket, not bound yet, born in the namespace of the calling thread. INET6 listens
  /// for both families.
  ServerChannel listener(StandardProtocolFamily family);

  /// A client socket, not connected yet, born in the namespace of the calling thread.
  SocketChannel socket(StandardProtocolFamily family);

  /// Sets the packet mark (SO_MARK) of everything the socket sends.
  void mark(Channel socket, int mark);

  /// The address that the peer of an accepted socket dialled before it was redirected; empty when
  /// it was not redirected.
  Optional<OriginalDst> originalDst(Channel accepted);

  /// Whether sockets can be handed to splice(2).
  boolean splices();
}
