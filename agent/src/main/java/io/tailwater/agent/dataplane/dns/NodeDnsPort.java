package io.tailwater.agent.dataplane.dns;

import io.netty.channel.EventLoop;
import io.tailwater.agent.dataplane.transport.DialledUdp;
import io.tailwater.agent.dataplane.transport.ListeningSocket;
import io.tailwater.agent.dataplane.transport.NodeListening;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.RejectedExecutionException;
import java.util.function.Function;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The DNS port of the node, where TPROXY brings what all captured pods ask: UDP and TCP on its
/// loopback addresses. A pod is known by the address that it asks from; it is answered on its own
/// loop, and from the address that it asked.
public final class NodeDnsPort implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(NodeDnsPort.class);
  private static final int DNS = 53;
  private static final int BACKLOG = 512;

  private final Function<InetAddress, Optional<DnsClient>> pods;
  private final DnsProxy proxy;
  private final List<DialledUdp> udp = new ArrayList<>();
  private final List<ListeningSocket> tcp = new ArrayList<>();

  private NodeDnsPort(Function<InetAddress, Optional<DnsClient>> pods, DnsProxy proxy) {
    this.pods = pods;
    this.proxy = proxy;
  }

  /// Opens the port. On the capture thread; blocks until the sockets are open.
  ///
  /// @param streams the loop that connections are accepted on; there are few
  /// @param pods who asks from an address; any thread
  /// @throws DnsPort.ListenException when the port cannot be had; nothing stays open then
  public static NodeDnsPort open(
      NodeListening node,
      int port,
      EventLoop streams,
      Function<InetAddress, Optional<DnsClient>> pods,
      DnsProxy proxy) {
    NodeDnsPort opened = new NodeDnsPort(pods, proxy);
    boolean done = false;
    try {
      for (InetAddress loopback : node.addresses()) {
        InetSocketAddress at = new InetSocketAddress(loopback, port);
        opened.openUdp(node, at);
        ListeningSocket listener = node.listener(loopback);
        opened.tcp.add(listener);
        listener.open(streams, at, BACKLOG, new DnsStreams(listener, streams, pods, proxy));
      }
      done = true;
      return opened;
    } catch (Exception e) { // Netty throws I/O failures undeclared
      throw new DnsPort.ListenException(
          "cannot answer DNS on port " + port + " of the node: " + e.getMessage(), e);
    } finally {
      if (!done) {
        opened.close();
      }
    }
  }

  private void openUdp(NodeListening node, InetSocketAddress at) {
    udp.add(
        node.dialledUdp(
            at,
            DNS,
            (packet, from, answers) ->
                pods.apply(from).ifPresent(client -> ask(client, packet, answers))));
  }

  /// On the poller's thread: over to the pod's loop, as far as that keeps up.
  private void ask(DnsClient client, byte[] packet, DialledUdp.Answers answers) {
    if (!client.mayWait()) {
      return; // lost, as packets get lost
    }
    try {
      client
          .loop()
          .execute(() -> {
            client.waitsNoMore();
            proxy.query(client, packet, new Packets(answers));
          });
    } catch (RejectedExecutionException _) {
      LOG.debug("a loop ended before a question came");
    }
  }

  private record Packets(DialledUdp.Answers answers) implements DnsProxy.Reply {
    @Override
    public void send(byte[] answer) {
      answers.send(answer);
    }

    @Override
    public boolean tcp() {
      return false;
    }
  }

  /// Takes no more questions, because another agent has opened the port beside this one: those that
  /// have come are answered. Blocks until no more is taken.
  public void finish() {
    udp.forEach(DialledUdp::takeNoMore);
    tcp.forEach(ListeningSocket::close);
    udp.clear();
    tcp.clear();
  }

  /// Stops answering. Blocks until the sockets are closed.
  @Override
  public void close() {
    udp.forEach(DialledUdp::close);
    tcp.forEach(ListeningSocket::close);
    udp.clear();
    tcp.clear();
  }
}
