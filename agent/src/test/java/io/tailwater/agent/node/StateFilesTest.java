package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// The state folder as a crash, a full disk or somebody's editor leaves it, and two agents that
/// want it at once. Nothing that stands there is believed without a look, and a closed pod stays
/// closed.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
@Timeout(300)
class StateFilesTest {
  private static final String CLOSED = "mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n";

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
  void removeRules() {
    world.removeRules();
  }

  private static void servesAndRefuses(RunningAgent agent) {
    Result allowed = world.curlViaDecoy(world.ratings, "en.wikipedia.org");
    assertThat(allowed.stdout()).as(allowed.stderr() + agent.log()).endsWith("200\n");
    Result unknown = world.curlVia(world.ratings, "example.org", World.v4("example.org"));
    assertThat(unknown.ok()).as("an unknown name passes").isFalse();
  }

  private static List<Path> marks(Path state) throws IOException {
    try (Stream<Path> files = Files.list(state.resolve("marks"))) {
      return files.sorted().toList();
    }
  }

  @Test
  void whatCannotBeReadIsSaidAndMadeAnew() throws IOException {
    Path configuration = world.configuration(policies, CLOSED);
    Path state = configuration.resolveSibling("state");
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      servesAndRefuses(agent);
      agent.process().signal("KILL");
      agent.process().awaitExit(Duration.ofSeconds(10));
    }
    List<Map<String, byte[]>> damages =
        List.of(
            Map.of(
                "inventory.json", "[{\"namespace\":".getBytes(StandardCharsets.US_ASCII),
                "addresses.json", "{}".getBytes(StandardCharsets.US_ASCII),
                "marks", "not a mark\n".getBytes(StandardCharsets.US_ASCII)),
            Map.of(
                "inventory.json", new byte[] {0, (byte) 0xff, (byte) 0xfe, '['},
                "addresses.json",
                    "[{\"namespace\":\"a\",\"host\":\"b\",\"v4\":\"10.0.0.1\"}]"
                        .getBytes(StandardCharsets.US_ASCII),
                "marks", "0\n".getBytes(StandardCharsets.US_ASCII)),
            Map.of(
                "inventory.json", "[".repeat(5000).getBytes(StandardCharsets.US_ASCII),
                "addresses.json", "[[[[[[[[[[[[".getBytes(StandardCharsets.US_ASCII),
                "marks", "12345678\n".repeat(100_000).getBytes(StandardCharsets.US_ASCII)),
            Map.of(
                "inventory.json", new byte[0],
                "addresses.json", new byte[0],
                "marks", new byte[0]));
    for (Map<String, byte[]> damage : damages) {
      for (Path mark : marks(state)) {
        Files.write(mark, damage.get("marks"));
      }
      Files.write(state.resolve("inventory.json"), damage.get("inventory.json"));
      Files.write(state.resolve("addresses.json"), damage.get("addresses.json"));
      try (RunningAgent agent = RunningAgent.start(world, configuration)) {
        assertThat(agent.log())
            .contains(state.resolve("inventory.json") + " cannot be read")
            .contains(state.resolve("addresses.json") + " cannot be read")
            .contains(marks(state).getFirst() + " cannot be read");
        servesAndRefuses(agent);
        for (Path mark : marks(state)) {
          assertThat(Files.readAllLines(mark)).hasSize(1).doesNotContain("0", "12345678");
        }
        agent.process().signal("KILL");
        agent.process().awaitExit(Duration.ofSeconds(10));
      }
    }
  }

  @Test
  void markThatOthersCouldReadIsReplaced() throws Exception {
    Path configuration = world.configuration(policies, CLOSED);
    Path state = configuration.resolveSibling("state");
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      servesAndRefuses(agent);
    }
    Path mark = marks(state).getFirst();
    String before = Files.readAllLines(mark).getFirst();
    Files.setPosixFilePermissions(mark, PosixFilePermissions.fromString("rw-r--r--"));
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      assertThat(agent.log()).contains(mark + " could be read by others");
      assertThat(Files.readAllLines(mark)).doesNotContain(before);
      assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(mark)))
          .isEqualTo("rw-------");
      servesAndRefuses(agent);
    }
  }

  @Test
  void filesInTheWayOfFoldersAndFoldersInTheWayOfFilesAreNoObstacle() throws IOException {
    Path configuration = world.configuration(policies, CLOSED);
    Path state = configuration.resolveSibling("state");
    for (String folder :
        List.of(
            "inventory.json", "addresses.json", "agent.lock", "agent.sock", "agent.sock.next")) {
      Files.createDirectories(state.resolve(folder).resolve("something"));
    }
    Files.writeString(state.resolve("marks"), "a file");
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      assertThat(agent.log()).contains(state.resolve("marks").toString(), "agent.lock");
      servesAndRefuses(agent);
    }
  }

  @Test
  void oneOfTwoAgentsThatStartAtOnceServesInTheEnd() {
    Path configuration = world.configuration(policies, CLOSED);
    try (RunningAgent one = RunningAgent.launch(world, configuration);
        RunningAgent two = RunningAgent.launch(world, configuration)) {
      World.await(
          () -> "a take-over\n" + one.log() + two.log(),
          () -> !one.process().isAlive() || !two.process().isAlive());
      RunningAgent first = one.process().isAlive() ? two : one;
      RunningAgent second = first == one ? two : one;
      assertThat(first.process().exit()).hasValue(0);
      assertThat(first.log()).contains("another agent has taken over");
      assertThat(second.log()).contains("took over from the agent before");
      servesAndRefuses(second);
    }
  }

  @Test
  void agentThatDoesNotAnswerKeepsTheFolderAndTheOtherSaysSo() {
    Path configuration = world.configuration(policies, CLOSED);
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      agent.process().signal("STOP");
      try (RunningAgent other = RunningAgent.launch(world, configuration)) {
        assertThat(other.process().awaitExit(Duration.ofSeconds(90))).isEqualTo(1);
        assertThat(other.log())
            .contains("another agent has " + configuration.resolveSibling("state/agent.lock"))
            .contains("end it, or give this one a stateDir of its own");
      } finally {
        agent.process().signal("CONT");
      }
      servesAndRefuses(agent);
    }
  }
}
