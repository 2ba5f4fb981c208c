package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// What pods meet when the agent is killed while they are busy: `onFailure`, by the kernel alone.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
@Timeout(180)
class FailureTest {
  private static final int PORT = 2525;
  private static final String SITE = "en.wikipedia.org";

  private static World world;
  private static Path policies;

  @BeforeAll
  static void build() {
    world = World.build();
    policies = world.policies(MainJobTest.POLICIES);
  }

  @AfterAll
  static void remove() {
    if (world != null) {
      world.close();
    }
  }

  @AfterEach
  void rulesRemoved() {
    RunningAgent.once(world, "rules", "remove", "--mode", "node");
    assertThat(world.lab.exec(world.lab.node(), "ipset", "list", "-name").orThrow()).isEmpty();
    world.removeRules();
    for (Place pod : new Place[] {world.ratings, world.reviews}) {
      assertThat(world.lab.exec(pod, "ipset", "list", "-name").orThrow()).isEmpty();
    }
  }

  private static void kill(RunningAgent agent) {
    agent.process().signal("KILL");
    agent.process().awaitExit(Duration.ofSeconds(10));
  }

  @ParameterizedTest
  @CsvSource({
    "in-pod, open, iptables-nft",
    "in-pod, auto, nft",
    "node, open, iptables-legacy",
    "node, auto, nft",
  })
  void killedAgentLetsOpenPodsPassAndTheNextOneCapturesThemAgain(
      String mode, String onFailure, String backend) throws Exception {
    letsPassAndIsFollowed(mode, onFailure, backend);
  }

  @ParameterizedTest
  @Tag("long")
  @CsvSource({
    "in-pod, open, iptables-legacy",
    "in-pod, auto, iptables-nft",
    "node, open, iptables-nft",
  })
  void soItDoesWithTheOtherBackends(String mode, String onFailure, String backend)
      throws Exception {
    letsPassAndIsFollowed(mode, onFailure, backend);
  }

  private static void letsPassAndIsFollowed(String mode, String onFailure, String backend)
      throws Exception {
    Path configuration =
        world.configuration(
            policies,
            "capture: {mode: %s, onFailure: %s, backend: %s}\n"
                .formatted(mode, onFailure, backend));
    try (TcpServer _ = TcpServer.start(world.lab, world.web, Map.of(PORT, Behaviour.ECHO));
        RunningAgent agent = RunningAgent.start(world, configuration);
        Load load = Load.start(world.ratings, World.v4("example.org"), PORT, 0, 2, 5)) {
      World.await(() -> "lines" + load.freshFailures(), () -> load.freshLines() > 50);
      Thread.sleep(4000); // longer than a set lives by itself
      assertThat(world.curlViaDecoy(world.ratings, SITE).ok()).as(agent.log()).isTrue();
      assertThat(load.freshFailures()).isEmpty();

      kill(agent);
      long killed = System.nanoTime();
      long before = load.freshLines();
      World.await(() -> "lines without an agent", () -> load.freshLines() > before + 20);
      Duration closedFor = Duration.ofNanos(System.nanoTime() - killed);
      System.out.println(
          mode + ", " + backend + ": passes " + closedFor.toMillis() + " ms after the kill");
      // In a pod clients are refused at once. On the node a SYN may be lost meanwhile, and clients
      // repeat it after 1, 3 and 7 s.
      assertThat(closedFor).isLessThan(Duration.ofSeconds(mode.equals("node") ? 15 : 8));
      load.forgetFailures();
      assertThat(world.curlVia(world.ratings, SITE, World.v4(SITE)).ok()).isTrue();

      try (RunningAgent next = RunningAgent.start(world, configuration)) {
        assertThat(world.curlViaDecoy(world.ratings, SITE).ok()).as(next.log()).isTrue();
        long lines = load.freshLines();
        World.await(() -> "more lines", () -> load.freshLines() > lines + 20);
        assertThat(load.freshFailures()).as("from open to captured").isEmpty();
        assertThat(next.stop()).isZero();
      }
      assertThat(world.curlVia(world.ratings, SITE, World.v4(SITE)).ok())
          .as("open at once after a regular end")
          .isTrue();
    }
  }

  /// The kernel would go on to redirect that port for 10 s, and anew with each attempt.
  @ParameterizedTest
  @ValueSource(strings = {"iptables-nft", "iptables-legacy", "nft"})
  void portWhoseConnectionTheKillHasResetIsNotRedirectedAnyMore(String backend) throws Exception {
    Path configuration =
        world.configuration(policies, "capture: {onFailure: open, backend: " + backend + "}\n");
    String address = World.v4("example.org");
    try (TcpServer _ = TcpServer.start(world.lab, world.web, Map.of(PORT, Behaviour.STALL));
        RunningAgent agent = RunningAgent.start(world, configuration);
        PodSocket busy = PodSocket.connectFrom(world.ratings, 20_025, address, PORT)) {
      CompletableFuture<Throwable> over = new CompletableFuture<>();
      Thread.ofVirtual()
          .start(() -> {
            try {
              while (true) {
                busy.send(new byte[65_536]);
              }
            } catch (UncheckedIOException e) {
              over.complete(e);
            }
          });
      Thread.sleep(1000); // by now the agent has bytes that nobody takes
      assertThat(over).isNotDone();
      kill(agent);
      assertThat(over.get(5, TimeUnit.SECONDS)).as("reset").isNotNull();
      World.await(() -> "it passes", () -> world.curlVia(world.ratings, SITE, World.v4(SITE)).ok());
      PodSocket.connectFrom(world.ratings, 20_025, address, PORT).close();
    }
  }

  @Test
  void podsThatEnforcePassTooWhereItIsSaidSo() {
    Path configuration =
        world.configuration(
            policies,
            "mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\ncapture: {onFailure: open}\n");
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      assertThat(world.curlVia(world.ratings, "example.org", World.v4("example.org")).ok())
          .isFalse();
      kill(agent);
      World.await(
          () -> "it passes",
          () -> world.curlVia(world.ratings, "example.org", World.v4("example.org")).ok());
    }
  }

  @ParameterizedTest
  @CsvSource({"in-pod, iptables-nft", "in-pod, nft", "node, iptables-legacy"})
  void killedAgentLeavesClosedPodsClosed(String mode, String backend) throws Exception {
    leavesClosed(mode, backend);
  }

  @ParameterizedTest
  @Tag("long")
  @CsvSource({"in-pod, iptables-legacy", "node, iptables-nft", "node, nft"})
  void soItDoesClosedPodsWithTheOtherBackends(String mode, String backend) throws Exception {
    leavesClosed(mode, backend);
  }

  private static void leavesClosed(String mode, String backend) throws Exception {
    Path configuration =
        world.configuration(
            policies,
            "mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n"
                + "capture: {mode: %s, onFailure: auto, backend: %s}\n".formatted(mode, backend));
    try (TcpServer _ = TcpServer.start(world.lab, world.web, Map.of(PORT, Behaviour.ECHO));
        RunningAgent agent = RunningAgent.start(world, configuration);
        Load load = Load.start(world.ratings, World.v4("example.org"), PORT, 0, 2, 5)) {
      World.await(() -> "refusals", () -> load.freshFailures().size() > 20);
      kill(agent);
      Thread.sleep(5000);
      assertThat(load.freshLines()).as("refused before and after").isZero();
      // TPROXY of iptables drops what nobody listens to.
      assertThat(world.curlVia(world.ratings, SITE, World.v4(SITE)).exit())
          .isIn(7, mode.equals("node") ? 28 : 7);
    }
  }
}
