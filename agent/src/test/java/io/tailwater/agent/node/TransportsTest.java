package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import io.tailwater.agent.dataplane.transport.IoUringTransport;
import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.HexFormat;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// The same answers by every transport and grade.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "dig"})
class TransportsTest {
  private static World world;
  private static Path policies;

  @BeforeAll
  static void build() {
    world = World.build();
    policies = world.policies(MainJobTest.POLICIES);
    TcpServer digest = TcpServer.start(world.lab, world.web, Map.of(25, Behaviour.DIGEST));
    assertThat(digest.process().isAlive()).isTrue();
  }

  @AfterAll
  static void remove() {
    if (world != null) {
      world.close();
    }
  }

  @ParameterizedTest
  @CsvSource({"epoll, splice", "epoll, copy", "io_uring, auto"})
  void carriesNamesBytesAndRefusals(String transport, String relay) {
    if (transport.equals("io_uring")) {
      assumeThat(IoUringTransport.unavailable()).isEmpty();
    }
    Path configuration =
        world.configuration(
            policies,
            "transport: "
                + transport
                + "\nrelay: "
                + relay
                + "\nmesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n");
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      for (String address : new String[] {World.DECOY, World.DECOY_6}) {
        Result curl = world.curlVia(world.ratings, "en.wikipedia.org", address);
        assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
        assertThat(curl.stdout()).contains("host=en.wikipedia.org").endsWith("200\n");
      }
      assertThat(agent.awaitAccess("sni=\"en.wikipedia.org\""))
          .contains("grade=\"" + (relay.equals("splice") ? "splice" : "copy") + "\"");
      Result refused = world.curlVia(world.ratings, "example.org", World.v4("example.org"));
      assertThat(refused.stderr()).containsIgnoringCase("reset");

      for (String how : new String[] {"+notcp", "+tcp"}) {
        for (String asked : new String[] {World.DECOY, World.DECOY_6}) {
          Result dig =
              world.lab.exec(
                  world.ratings, "dig", "@" + asked, how, "+short", "+time=5", "de.wikipedia.org");
          assertThat(dig.stdout().strip())
              .as("%s\n%s", dig, agent.log())
              .isEqualTo(World.v4("de.wikipedia.org"));
        }
      }

      // Ten million bytes there, the end of them, and then their count and hash back.
      byte[] bytes = new byte[10_000_000];
      new Random(1).nextBytes(bytes);
      String answer = bytes.length + " " + sha256(bytes);
      try (PodSocket client = PodSocket.connect(world.ratings, World.v4("example.org"), 25)) {
        client.send(bytes).shutdownOutput();
        assertThat(client.readLine(Duration.ofSeconds(20))).isEqualTo(answer);
        assertThat(client.end(Duration.ofSeconds(10))).isEqualTo(PodSocket.End.CLOSED);
      }
      assertThat(agent.awaitAccess("cluster=\"outbound|25||mail.example.net\""))
          .contains("bytes_sent=10000000")
          .contains("bytes_recv=" + (answer.length() + 1));
    }
  }

  private static String sha256(byte[] bytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError(e);
    }
  }
}
