package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.time.Duration;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

/// epoll without splice, the one grade that [FlowMatrixTest] has no combination for.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
class CopyTest {
  @Test
  void whereSpliceIsNotWantedTheSameBytesAreCopied() {
    try (World world = World.build()) {
      TcpServer.start(world.lab, world.web, Map.of(25, Behaviour.DIGEST));
      RunningAgent agent =
          RunningAgent.start(
              world,
              world.configuration(
                  world.policies(MainJobTest.POLICIES),
                  """
                  transport: epoll
                  relay: copy
                  mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
                  """));
      for (String address : new String[] {World.DECOY, World.DECOY_6}) {
        Result curl = world.curlVia(world.ratings, "en.wikipedia.org", address);
        assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
        assertThat(curl.stdout()).contains("host=en.wikipedia.org").endsWith("200\n");
      }
      assertThat(agent.awaitAccess("sni=\"en.wikipedia.org\"")).contains("grade=\"copy\"");

      // Ten million bytes there, the end of them, and then their count and hash back.
      byte[] bytes = new byte[10_000_000];
      new Random(1).nextBytes(bytes);
      String answer = bytes.length + " " + PodSocket.sha256(bytes);
      try (PodSocket client = PodSocket.connect(world.ratings, World.v4("example.org"), 25)) {
        client.send(bytes).shutdownOutput();
        assertThat(client.readLine(Duration.ofSeconds(20))).isEqualTo(answer);
        assertThat(client.end(Duration.ofSeconds(10))).isEqualTo(PodSocket.End.CLOSED);
      }
      assertThat(agent.awaitAccess("cluster=\"outbound|25||mail.example.net\""))
          .contains("grade=\"copy\"")
          .contains("bytes_sent=10000000")
          .contains("bytes_recv=" + (answer.length() + 1));
    }
  }
}
