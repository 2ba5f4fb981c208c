package io.tailwater.agent.dataplane.dns;

import io.tailwater.agent.dataplane.transport.ListeningSocket;
import io.tailwater.agent.dataplane.transport.LoopbackPlace;
import io.tailwater.agent.dataplane.transport.UdpSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.net.UnknownHostException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The DNS port of one pod: UDP and TCP on its loopback addresses, all on one loop. UDP has to be
/// bound to the very address that redirected packets arrive at: an answer from another one would
/// not be translated back to the server that the client asked.
public final class DnsPort implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(DnsPort.class);
  private static final int BACKLOG = 128;

  private final List<UdpSocket> udp = new ArrayList<>();
  private final List<ListeningSocket> tcp = new ArrayList<>();

  private DnsPort() {}

  /// Opens the port in the pod. On the capture thread; blocks until the sockets are open.
  ///
  /// @throws ListenException when the port cannot be had; nothing stays open then
  public static DnsPort open(LoopbackPlace place, int port, DnsClient client, DnsProxy proxy) {
    DnsPort opened = new DnsPort();
    boolean done = false;
    try {
      opened.open(place, StandardProtocolFamily.INET, loopback(4, port), client, proxy);
      if (place.hasIpv6()) {
        opened.openSix(place, port, client, proxy);
      }
      done = true;
      return opened;
    } catch (Exception e) { // Netty throws I/O failures undeclared
      throw new ListenException(
          "cannot answer DNS on port " + port + " in the pod: " + e.getMessage(), e);
    } finally {
      if (!done) {
        opened.close();
      }
    }
  }

  /// Where IPv6 is switched off for the loopback, nothing can be asked there either.
  private void openSix(LoopbackPlace place, int port, DnsClient client, DnsProxy proxy)
      throws Exception {
    try {
      open(place, StandardProtocolFamily.INET6, loopback(16, port), client, proxy);
    } catch (Exception e) {
      if (!String.valueOf(e.getMessage()).contains("Cannot assign requested address")) {
        throw e;
      }
      LOG.debug("{}: no DNS on ::1: {}", client.pod().ref(), e.getMessage());
    }
  }

  private void open(
      LoopbackPlace place,
      StandardProtocolFamily family,
      InetSocketAddress address,
      DnsClient client,
      DnsProxy proxy)
      throws Exception {
    UdpSocket packets = place.udp(family);
    udp.add(packets);
    packets.open(
        client.loop(),
        address,
        (packet, from) -> proxy.query(client, packet, new Packets(packets, from)));
    ListeningSocket streams = place.listener(address.getAddress());
    tcp.add(streams);
    streams.open(
        client.loop(),
        address,
        BACKLOG,
        new DnsStreams(streams, client.loop(), _ -> Optional.of(client), proxy));
  }

  private record Packets(UdpSocket socket, InetSocketAddress client) implements DnsProxy.Reply {
    @Override
    public void send(byte[] answer) {
      socket.send(answer, client);
    }

    @Override
    public boolean tcp() {
      return false;
    }
  }

  private static InetSocketAddress loopback(int length, int port) throws UnknownHostException {
    byte[] bytes = new byte[length];
    bytes[0] = (byte) (length == 4 ? 127 : 0);
    bytes[length - 1] = 1;
    return new InetSocketAddress(InetAddress.getByAddress(bytes), port);
  }

  /// Takes no more questions, because another agent has opened the port beside this one: those that
  /// have come are answered, by sockets that close with their loop. Blocks until no more is taken.
  public void finish() {
    udp.forEach(UdpSocket::takeNoMore);
    tcp.forEach(ListeningSocket::close);
    tcp.clear();
  }

  /// Stops answering. Blocks until the sockets are closed.
  @Override
  public void close() {
    udp.forEach(UdpSocket::close);
    tcp.forEach(ListeningSocket::close);
    udp.clear();
    tcp.clear();
  }

  /// The port cannot be had.
  public static final class ListenException extends RuntimeException {
    ListenException(String message, Throwable cause) {
      super(message, cause);
    }
  }
}
