package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/// Upstreams and clients that misbehave, and limits, under short times.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
class FaultsTest {
  private static final Duration SOON = Duration.ofSeconds(10);
  private static final int MOST = 20;

  private static World world;
  private static RunningAgent agent;
  private static Place blackHole;

  @BeforeAll
  static void start() {
    world = World.build();
    blackHole = world.lab.addHost("black-hole", "198.51.100.66");
    world.lab.exec(blackHole, "iptables", "-A", "INPUT", "-p", "tcp", "-j", "DROP").orThrow();
    world.dns.point("hole.wikipedia.org", "198.51.100.66");
    // The DNS server's host is up and nobody listens on 443 there.
    world.dns.point("refusing.wikipedia.org", world.nameserver.v4());
    Path policies = world.policies(MainJobTest.POLICIES);
    TcpServer.start(world.lab, world.web, Map.of(25, Behaviour.ECHO));
    agent =
        RunningAgent.start(
            world,
            world.configuration(
                policies,
                "mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n"
                    + "limits: {connectTimeout: 1s, clientHelloTime: 1s, connectionsPerPod: "
                    + MOST
                    + "}\n"));
  }

  @AfterAll
  static void stop() {
    if (world != null) {
      world.close();
    }
  }

  @Test
  void anUpstreamThatRefusesIsAConnectFailure() {
    Result curl = world.curlViaDecoy(world.ratings, "refusing.wikipedia.org");
    assertThat(curl.ok()).isFalse();
    assertThat(agent.awaitAccess("sni=\"refusing.wikipedia.org\""))
        .contains("\terror\t")
        .contains("reason=\"connect_failed\"")
        .contains("refused");
  }

  @Test
  void anUpstreamThatSwallowsEverythingIsAConnectFailureAfterTheTimeout() {
    Result curl = world.curlViaDecoy(world.ratings, "hole.wikipedia.org");
    assertThat(curl.ok()).isFalse();
    assertThat(agent.awaitAccess("sni=\"hole.wikipedia.org\""))
        .contains("reason=\"connect_failed\"")
        .contains("no answer in 1000 ms");
  }

  @Test
  void aClientThatSaysNothingIsRefusedAfterItsTime() {
    try (PodSocket client = PodSocket.connect(world.ratings, World.DECOY, 443)) {
      assertThat(client.end(SOON)).isEqualTo(PodSocket.End.RESET);
    }
    agent.awaitAccess("reason=\"hello_timeout\"");
  }

  @Test
  void helloThatStopsHalfwayIsRefusedAfterItsTime() {
    try (PodSocket client = PodSocket.connect(world.ratings, World.DECOY, 443)) {
      client.send("\u0016\u0003\u0001\u0001\u0000\u0001\u0000\u0000\u00fc\u0003\u0003");
      assertThat(client.end(SOON)).isEqualTo(PodSocket.End.RESET);
    }
  }

  @Test
  void garbageIsResetAndNeverPassedOn() {
    for (String bytes :
        List.of(
            "\u0016\u0003\u0001\u0000\u0005hello", "\u0000\u0001\u0002\u0003", "SSH-2.0-x\r\n")) {
      try (PodSocket client = PodSocket.connect(world.ratings, World.v4("en.wikipedia.org"), 443)) {
        client.send(bytes);
        assertThat(client.end(SOON)).isEqualTo(PodSocket.End.RESET);
      }
    }
    agent.awaitAccess("reason=\"malformed_hello\"");
  }

  @Test
  void aClientThatResetsInTheMiddleIsRecordedAndForgotten() {
    PodSocket client = PodSocket.connect(world.ratings, World.v4("example.org"), 25);
    client.send("some\n");
    assertThat(client.readLine(SOON)).isEqualTo("some");
    client.reset();
    assertThat(
            agent.awaitAccess("cluster=\"outbound|25||mail.example.net\"", "reset by the client"))
        .contains("bytes_sent=5");
  }

  @Test
  void moreConnectionsThanThePodMayHaveAreRefusedUntilOthersEnd() {
    List<PodSocket> held = new ArrayList<>();
    try {
      for (int i = 0; i < MOST; i++) {
        PodSocket client = PodSocket.connect(world.reviews, World.v4("example.org"), 25);
        held.add(client);
        client.send("x\n");
        assertThat(client.readLine(SOON)).isEqualTo("x");
      }
      try (PodSocket one = PodSocket.connect(world.reviews, World.v4("example.org"), 25)) {
        assertThat(one.end(SOON)).isEqualTo(PodSocket.End.RESET);
      }
      assertThat(agent.awaitAccess("reason=\"limit\"", "src.workload=\"reviews-v1\""))
          .contains("limits.connectionsPerPod (" + MOST + ")");
      // Another pod has its own.
      assertThat(world.curlViaDecoy(world.ratings, "en.wikipedia.org").ok()).isTrue();
    } finally {
      held.forEach(PodSocket::close);
    }
    World.await(
        () -> "the pod may connect again",
        () -> world.curlViaDecoy(world.reviews, "en.wikipedia.org").ok());
  }

  @Test
  void nothingOfManyShortConnectionsIsLeft() {
    List<Integer> idle = settled();
    for (int i = 0; i < 250; i++) {
      try (PodSocket allowed = PodSocket.connect(world.ratings, World.v4("example.org"), 25);
          PodSocket refused = PodSocket.connect(world.ratings, World.v4("edition.cnn.com"), 25)) {
        allowed.send("x\n");
        refused.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assertThat(allowed.readLine(SOON)).isEqualTo("x");
        assertThat(refused.end(SOON)).isEqualTo(PodSocket.End.RESET);
      }
    }
    World.await(
        () ->
            "descriptors "
                + agent.descriptors()
                + ", threads "
                + agent.threads()
                + "; idle were "
                + idle,
        () -> agent.descriptors() <= idle.get(0) && agent.threads() <= idle.get(1));
  }

  /// Descriptors and threads when every part has been in use and nothing is under way.
  private static List<Integer> settled() {
    for (int i = 0; i < 8; i++) {
      world.curlViaDecoy(world.ratings, "en.wikipedia.org");
      world.curlVia(world.ratings, "example.org", World.v4("example.org"));
    }
    int[] last = {0, 0};
    World.await(
        () -> "descriptors and threads come to rest",
        () -> {
          int[] now = {agent.descriptors(), agent.threads()};
          boolean still = now[0] == last[0] && now[1] == last[1];
          last[0] = now[0];
          last[1] = now[1];
          return still;
        });
    return List.of(last[0], last[1]);
  }
}
