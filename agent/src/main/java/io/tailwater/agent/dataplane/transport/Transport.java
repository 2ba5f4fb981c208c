package io.tailwater.agent.dataplane.transport;

import io.netty.channel.IoHandlerFactory;
import java.net.InetAddress;
import java.net.StandardProtocolFamily;

/// One way to do socket I/O. Stateless; any thread. Implementations: [EpollTransport],
/// [IoUringTransport]; NIO exists in tests only, because it has no mark and no original
/// destination.
public interface Transport {
  /// epoll, io_uring: as the configuration names it.
  String name();

  /// What an event loop of this transport is made of.
  IoHandlerFactory ioHandlers();

  /// A listening socket, not bound yet, born in the namespace of the calling thread; several may
  /// share its address and port. INET6 listens for both families. Accepted sockets inherit the
  /// mark, so that what the agent answers passes the capture rules too, and keep-alive.
  ///
  /// @throws RuntimeException when the kernel refuses; nothing stays open then
  ListeningSocket listener(StandardProtocolFamily family, int mark);

  /// A listening socket for what TPROXY brings to it, whatever the address: accepted sockets stand
  /// at the address that was dialled (IP_TRANSPARENT). One family; otherwise as [#listener].
  ///
  /// @throws RuntimeException when the kernel refuses; nothing stays open then
  ListeningSocket transparentListener(StandardProtocolFamily family, int mark);

  /// A client socket that stands at an address which may be somebody else's (IP_TRANSPARENT); its
  /// port is chosen when it connects, so that as many connections as ports are possible to each
  /// destination and not in all. Otherwise as [#socket].
  ///
  /// @throws RuntimeException when the kernel refuses; nothing stays open then
  StreamSocket socketAt(InetAddress source, int mark);

  /// A client socket, not connected yet, born in the namespace of the calling thread, with
  /// keep-alive and the packet mark (SO_MARK) on everything that it sends.
  ///
  /// @throws RuntimeException when the kernel refuses; nothing stays open then
  StreamSocket socket(StandardProtocolFamily family, int mark);

  /// A UDP socket, not bound yet, born in the namespace of the calling thread; several may share
  /// its address and port. What it sends carries the mark.
  ///
  /// @throws RuntimeException when the kernel refuses; nothing stays open then
  UdpSocket udp(StandardProtocolFamily family, int mark);

  /// Whether its sockets can be handed to splice(2).
  boolean splices();
}
