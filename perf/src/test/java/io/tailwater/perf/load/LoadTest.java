package io.tailwater.perf.load;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.perf.wire.ClientHello;
import io.tailwater.perf.wire.Command;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// Client and server against each other on loopback, with counts that are small.
@Timeout(30)
class LoadTest {
  private static int port;

  @BeforeAll
  static void startServer() throws Exception {
    try (ServerSocket free = new ServerSocket(0)) {
      port = free.getLocalPort();
    }
    LoadServer server = new LoadServer("127.0.0.1", port);
    Thread.ofPlatform().daemon().name("load-server").start(server::serve);
  }

  private static Fields run(String verb) {
    return Fields.of(verb)
        .with("address", "127.0.0.1")
        .with("port", port)
        .with("sni", "raw.bench.test")
        .with("size", 128)
        .with("pids", ProcessHandle.current().pid())
        .with("checksum", 1)
        .with("warmMillis", 20)
        .with("millis", 100);
  }

  @Test
  void keptConnectionsExchangeMessages() {
    Fields answer = new LoadClient().run(run("requests").with("connections", 3));

    assertThat(answer.verb()).as(answer.line()).isEqualTo("ok");
    assertThat(answer.number("count")).isGreaterThan(10);
    assertThat(answer.decimal("p99")).isGreaterThanOrEqualTo(answer.decimal("p50"));
  }

  @Test
  void newConnectionsComeAndGo() {
    Fields answer = new LoadClient().run(run("connections").with("connections", 3));

    assertThat(answer.verb()).as(answer.line()).isEqualTo("ok");
    assertThat(answer.number("count")).isGreaterThan(5);
  }

  @Test
  void bulkBytesArriveUnchangedInBothDirections() {
    for (String mode : new String[] {"up", "down"}) {
      Fields answer =
          new LoadClient()
              .run(run("bulk").with("mode", mode).with("connections", 2).with("bytes", 3_000_001));

      assertThat(answer.verb()).as(answer.line()).isEqualTo("ok");
      assertThat(answer.number("count")).isEqualTo(6_000_002);
    }
  }

  @Test
  void heldConnectionsStayUntilTheyAreReleased() {
    LoadClient client = new LoadClient();

    assertThat(client.run(run("hold").with("connections", 40)).number("count")).isEqualTo(40);
    assertThat(client.run(run("hold").with("connections", 60)).number("count")).isEqualTo(60);
    assertThat(client.run(run("release")).number("count")).isEqualTo(60);
    assertThat(client.run(run("release")).number("count")).isZero();
  }

  @Test
  void aClosedPortFailsTheRunWithAReason() throws Exception {
    int closed;
    try (ServerSocket free = new ServerSocket(0)) {
      closed = free.getLocalPort();
    }

    Fields answer =
        new LoadClient().run(run("requests").with("connections", 1).with("port", closed));

    assertThat(answer.verb()).isEqualTo("failed");
    assertThat(answer.get("why")).contains("refused");
  }

  @Test
  void anUnknownRunIsRefused() {
    assertThat(new LoadClient().run(run("dance")).get("why")).contains("dance");
  }

  @Test
  void serverTakesHelloCommandAndMessagesInAnyPieces() throws Exception {
    byte[] messages = new byte[5 * 128];
    new Random(5).nextBytes(messages);
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    all.write(ClientHello.record("raw.bench.test", 1));
    all.write(Command.echo(128).encode());
    all.write(messages);
    for (int piece : new int[] {1, 7, 100, 129, 4096}) {
      try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
        socket.setTcpNoDelay(true);
        OutputStream out = socket.getOutputStream();
        byte[] bytes = all.toByteArray();
        for (int at = 0; at < bytes.length; at += piece) {
          out.write(bytes, at, Math.min(piece, bytes.length - at));
          out.flush();
        }

        assertThat(socket.getInputStream().readNBytes(messages.length)).isEqualTo(messages);
      }
    }
  }

  @Test
  void serverSaysWhatArrivedAndSendsWhatWasAskedFor() throws Exception {
    try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
      socket.getOutputStream().write(ClientHello.record("raw.bench.test", 1));
      socket.getOutputStream().write(new Command(Command.Mode.DOWN, false, 16, 1000).encode());
      InputStream in = socket.getInputStream();
      assertThat(ByteBuffer.wrap(in.readNBytes(16)).getLong()).isEqualTo(Command.READY);
      socket.getOutputStream().write(1);

      assertThat(in.readNBytes(1000)).hasSize(1000);
    }
  }
}
