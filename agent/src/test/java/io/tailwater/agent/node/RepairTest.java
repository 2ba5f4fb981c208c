package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Rules that somebody changes come back, and those who talk meanwhile do not notice.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
@Timeout(180)
class RepairTest {
  private static final int PORT = 2525;

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

  /// Where changes are notified, the sweep alone would not bring three repairs in this time. What
  /// begins while the redirection alone is gone is refused, because nobody redirected it; while all
  /// rules are gone it passes.
  @ParameterizedTest
  @CsvSource({
    "iptables-nft, iptables-nft -t nat -F TAILWATER_OUTPUT, notified, 5, refused",
    "iptables-nft, nft flush ruleset, notified, 5, pass",
    "nft, nft flush ruleset, notified, 5, pass",
    "nft, nft delete table inet tailwater, notified, 5, pass",
    "iptables-legacy, iptables-legacy -t nat -F, swept, 15, refused",
    "nft, nft flush chain inet tailwater nat-output-ipv4, notified, 5, refused",
  })
  void flushedRulesComeBackAndNoLiveConnectionIsLost(
      String backend, String flush, String noticed, int seconds, String meanwhile)
      throws Exception {
    Path configuration = world.configuration(policies, "capture: {backend: " + backend + "}\n");
    try (TcpServer _ = TcpServer.start(world.lab, world.web, Map.of(PORT, Behaviour.ECHO));
        RunningAgent agent = RunningAgent.start(world, configuration)) {
      try (Load load = Load.start(world.ratings, World.v4("example.org"), PORT, 4, 2, 5)) {
        World.await(() -> "lines", () -> load.keptLines() > 100 && load.freshLines() > 50);
        Thread.sleep(500); // what the agent's own changes caused is over
        assertThat(repairs(agent, "notified") + repairs(agent, "swept")).isZero();
        String wanted = redirects(backend);
        assertThat(wanted).containsIgnoringCase("redirect");

        for (int time = 1; time <= 3; time++) {
          long flushed = System.nanoTime();
          world.lab.exec(world.ratings, flush.split(" ")).orThrow();
          World.await(
              () -> "the rules again\n" + agent.log(), () -> redirects(backend).equals(wanted));
          Duration took = Duration.ofNanos(System.nanoTime() - flushed);
          System.out.println(backend + ": back after " + took.toMillis() + " ms");
          assertThat(took).isLessThan(Duration.ofSeconds(seconds));
          Thread.sleep(200); // what began before has ended
          if (meanwhile.equals("refused")) {
            assertThat(load.freshFailures()).allMatch(why -> why.contains("Connection refused"));
            load.forgetFreshFailures();
          }
        }

        long kept = load.keptLines();
        long fresh = load.freshLines();
        World.await(
            () -> "more lines",
            () -> load.keptLines() > kept + 50 && load.freshLines() > fresh + 50);
        assertThat(load.keptFailures()).isEmpty();
        assertThat(load.freshFailures()).isEmpty();
      }
      World.await(
          () -> "each repair is counted\n" + agent.page("15020/metrics").stdout(),
          () -> repairs(agent, noticed) >= 3);
      assertThat(agent.log()).contains("putting them back");
      assertThat(agent.page("15000/pods?format=json").stdout()).contains("\"drift\": \"" + noticed);
    } finally {
      world.removeRules();
    }
  }

  /// The redirecting rules of the pod, as the backend tells them.
  private static String redirects(String backend) {
    String[] tell =
        backend.equals("nft")
            ? new String[] {"nft", "-s", "list", "ruleset"}
            : new String[] {backend + "-save", "-t", "nat"};
    return world
        .lab
        .exec(world.ratings, tell)
        .orThrow()
        .lines()
        .filter(line -> line.contains("REDIRECT") || line.contains("redirect to"))
        .sorted()
        .reduce("", (a, b) -> a + b + "\n");
  }

  private static long repairs(RunningAgent agent, String noticed) {
    return agent
        .page("15020/metrics")
        .stdout()
        .lines()
        .filter(line -> line.startsWith("tailwater_rule_repairs_total{noticed=\"" + noticed + "\""))
        .mapToLong(line -> (long) Double.parseDouble(line.substring(line.lastIndexOf(' ') + 1)))
        .sum();
  }
}
