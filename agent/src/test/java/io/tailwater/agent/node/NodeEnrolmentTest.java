package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// All pods of a full node captured on the node at once. Prints how long it took.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
@Timeout(400)
class NodeEnrolmentTest {
  private static final int PODS = 200;

  private static World world;
  private static final List<Place> pods = new ArrayList<>();

  @BeforeAll
  static void build() {
    world = World.build();
    pods.addAll(List.of(world.ratings, world.reviews));
    while (pods.size() < PODS) {
      pods.add(world.lab.addPod("pod" + pods.size()));
    }
  }

  @AfterAll
  static void remove() {
    if (world != null) {
      world.close();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"iptables-nft", "iptables-legacy", "nft"})
  void aFullNodeIsCapturedTogetherWhileOneGoesAndOneMoreSoonAfter(String backend) {
    String name = "late-" + backend;
    Path later = pods.getFirst().path().resolveSibling("tw-" + world.lab.id() + "-" + name);
    Place gone = world.lab.addPod("gone-" + backend);
    String listed =
        pods.stream()
            .map(pod ->
                "  - {namespace: default, name: %s, netns: %s}\n".formatted(pod.name(), pod.path()))
            .collect(Collectors.joining());
    Path configuration =
        world.configuration(
            "sources: [{files: %s}]\n".formatted(world.policies(MainJobTest.POLICIES))
                + "capture: {mode: node, backend: %s}\n".formatted(backend)
                + "mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n"
                + "pods:\n"
                + "  - {namespace: late, name: late, netns: %s}\n".formatted(later)
                + "  - {namespace: gone, name: gone, netns: %s}\n".formatted(gone.path())
                + listed);
    try (RunningAgent agent = RunningAgent.launch(world, configuration)) {
      agent.process().awaitOutput("rules are kept by", Duration.ofSeconds(40));
      Result deleted =
          world.lab.exec(
              world.lab.node(), "ip", "netns", "del", gone.path().getFileName().toString());
      assertThat(deleted.exit()).as(deleted.stderr()).isZero();
      World.await(() -> "all pods\n" + agent.log(), () -> captured(agent).size() == PODS);
      Duration took =
          Duration.between(time(agent.log(), "rules are kept by"), captured(agent).getLast());
      System.out.printf("%d pods captured in %d ms (node, %s)%n", PODS, took.toMillis(), backend);
      assertThat(took).isLessThan(Duration.ofSeconds(40)); // 10 s where nothing else runs
      for (Place pod : List.of(pods.getFirst(), pods.get(PODS / 2), pods.getLast())) {
        Result curl = world.curlViaDecoy(pod, "en.wikipedia.org");
        assertThat(curl.stdout()).as(pod.name() + curl.stderr()).endsWith("200\n");
        assertThat(world.curlVia(pod, "example.org", World.v4("example.org")).ok()).isFalse();
      }

      long begun = System.nanoTime();
      Place late = world.lab.addPod(name);
      World.await(() -> "one more\n" + agent.log(), () -> captured(agent).size() == PODS + 1);
      System.out.printf(
          "one more in %d ms (node, %s)%n", (System.nanoTime() - begun) / 1_000_000, backend);
      assertThat(world.curlVia(late, "example.org", World.v4("example.org")).ok()).isFalse();
      assertThat(RunningAgent.once(world, "drain", "--uninstall").exit()).isZero();
      World.await(
          () -> "the rules are gone",
          () -> !world.lab.exec(world.lab.node(), "ip", "rule").stdout().contains("0x200"));
    }
  }

  private static List<Instant> captured(RunningAgent agent) {
    return agent
        .log()
        .lines()
        .filter(line -> line.contains(": captured in ") && !line.contains("gone/gone"))
        .map(line -> Instant.parse(line.split("\\s", 2)[0]))
        .toList();
  }

  private static Instant time(String log, String part) {
    return log.lines()
        .filter(line -> line.contains(part))
        .map(line -> Instant.parse(line.split("\\s", 2)[0]))
        .findFirst()
        .orElseThrow();
  }
}
