package io.tailwater.agent.dataplane.resolve;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.xbill.DNS.Message;

/// A DNS server on the loopback, UDP and TCP on one port, that sends whatever bytes the test wants:
/// for servers that lie, mumble or keep silent. Bounded by the test's own life.
final class FakeDnsServer implements AutoCloseable {
  /// What is sent back, each as a datagram or TCP message of its own; none: silence.
  @FunctionalInterface
  interface Script {
    List<byte[]> replies(Message query, boolean tcp) throws IOException;
  }

  private final DatagramSocket udp;
  private final ServerSocket tcp;
  private final Script script;
  private final List<Thread> threads;

  /// Each question that came, as text: "name. type udp".
  final Queue<Message> questions = new ConcurrentLinkedQueue<>();

  FakeDnsServer(Script script) throws IOException {
    this.script = script;
    InetAddress loopback = InetAddress.getByAddress(new byte[] {127, 0, 0, 1});
    ServerSocket stream = null;
    DatagramSocket datagram = null;
    for (int i = 0; datagram == null; i++) {
      stream = new ServerSocket(0, 50, loopback);
      try {
        datagram = new DatagramSocket(stream.getLocalPort(), loopback);
      } catch (SocketException e) {
        stream.close();
        if (i == 20) {
          throw e;
        }
      }
    }
    this.tcp = stream;
    this.udp = datagram;
    this.threads =
        List.of(
            Thread.ofPlatform().daemon().name("fake-dns-udp").start(this::serveUdp),
            Thread.ofPlatform().daemon().name("fake-dns-tcp").start(this::serveTcp));
  }

  InetSocketAddress address() {
    return new InetSocketAddress(udp.getLocalAddress(), udp.getLocalPort());
  }

  private void serveUdp() {
    byte[] buffer = new byte[4096];
    while (!udp.isClosed()) {
      try {
        var packet = new DatagramPacket(buffer, buffer.length);
        udp.receive(packet);
        byte[] bytes = new byte[packet.getLength()];
        System.arraycopy(buffer, 0, bytes, 0, bytes.length);
        var query = new Message(bytes);
        questions.add(query);
        for (byte[] reply : script.replies(query, false)) {
          udp.send(new DatagramPacket(reply, reply.length, packet.getSocketAddress()));
        }
      } catch (IOException e) {
        if (!udp.isClosed()) {
          throw new AssertionError(e);
        }
      }
    }
  }

  private void serveTcp() {
    while (!tcp.isClosed()) {
      try (Socket client = tcp.accept()) {
        var in = new DataInputStream(client.getInputStream());
        byte[] bytes = in.readNBytes(in.readUnsignedShort());
        var query = new Message(bytes);
        questions.add(query);
        var out = new DataOutputStream(client.getOutputStream());
        for (byte[] reply : script.replies(query, true)) {
          out.writeShort(reply.length);
          // In two parts: a message need not come whole.
          out.write(reply, 0, Math.min(5, reply.length));
          out.flush();
          out.write(reply, Math.min(5, reply.length), Math.max(0, reply.length - 5));
        }
      } catch (IOException _) {
        // The client gave up, or the server is closed.
      }
    }
  }

  @Override
  public void close() {
    udp.close();
    try {
      tcp.close();
      for (Thread thread : threads) {
        thread.join();
      }
    } catch (IOException | InterruptedException e) {
      throw new AssertionError(e);
    }
  }
}
