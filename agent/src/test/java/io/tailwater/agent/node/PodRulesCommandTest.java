package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// `rules` by hand on a pod that an agent has captured.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "nft"})
@Timeout(300)
class PodRulesCommandTest {
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

  private static Result rules(Path config, String action, String... more) {
    String[] all =
        Stream.concat(
                Stream.of(
                    "rules",
                    action,
                    "--netns",
                    world.ratings.path().toString(),
                    "--config",
                    config.toString()),
                Stream.of(more))
            .toArray(String[]::new);
    return RunningAgent.once(world, all);
  }

  private static List<String> marks(Path config) throws IOException {
    String inode =
        world.lab.exec(world.ratings, "stat", "-Lc", "%i", "/proc/self/ns/net").stdout().strip();
    try (Stream<Path> files = Files.list(config.resolveSibling("state").resolve("marks"))) {
      Path file =
          files
              .filter(one -> one.getFileName().toString().matches("[0-9a-f]+-" + inode))
              .findFirst()
              .orElseThrow();
      return Files.readAllLines(file);
    }
  }

  private static void tellsNoMark(Result result, Path config) throws IOException {
    for (String mark : marks(config)) {
      assertThat((result.stdout() + result.stderr()).toLowerCase(Locale.ROOT)).doesNotContain(mark);
    }
  }

  @ParameterizedTest
  @CsvSource({"REGISTRY_ONLY, iptables-nft", "ALLOW_ANY, iptables-legacy", "ALLOW_ANY, nft"})
  void whatAnAgentHoldsIsAsWantedAndNoDifferenceTellsItsMark(String policy, String backend)
      throws Exception {
    Path config =
        world.configuration(
            policies,
            "mesh: {outboundTrafficPolicy: {mode: %s}}\ncapture: {backend: %s}\n"
                .formatted(policy, backend));
    try (RunningAgent agent = RunningAgent.start(world, config)) {
      Result verified = rules(config, "verify");
      assertThat(verified.exit()).as(verified + agent.log()).isZero();
      assertThat(verified.stdout()).contains("as wanted");
      tellsNoMark(verified, config);
      agent.process().signal("KILL"); // it would put back what is taken away
      agent.process().awaitExit(Duration.ofSeconds(10));
    }
    String chain =
        switch (backend) {
          case "nft" -> "nft flush chain inet tailwater nat-output-ipv4";
          case "iptables-legacy" -> "iptables-legacy -t nat -F TAILWATER_OUTPUT";
          default -> "iptables-nft -t nat -F TAILWATER_OUTPUT";
        };
    Result flushed = world.lab.exec(world.ratings, "sh", "-c", chain);
    assertThat(flushed.ok()).as(flushed.toString()).isTrue();
    for (String format : List.of("text", "json")) {
      Result less = rules(config, "verify", "-o", format);
      assertThat(less.exit()).as(less.toString()).isEqualTo(1);
      assertThat(less.stdout()).contains("incomplete", "IPv4", "SECRET");
      tellsNoMark(less, config);
    }
    assertThat(rules(config, "apply").exit()).isZero();
    Result again = rules(config, "verify");
    assertThat(again.exit()).as(again.toString()).isZero();
    Result unknown =
        RunningAgent.once(world, "rules", "verify", "--netns", world.ratings.path().toString());
    assertThat(unknown.exit()).isEqualTo(1);
    assertThat(unknown.stderr()).contains("without --config");
    tellsNoMark(unknown, config);
  }

  /// A Sidecar makes this one pod closed, and its ip6tables fails.
  @Test
  void whatTheAgentHasMadeOfOnePodIsWhatIsWanted() throws Exception {
    String sidecar =
        """
        ---
        apiVersion: networking.istio.io/v1
        kind: Sidecar
        metadata: {name: ratings, namespace: default}
        spec:
          workloadSelector: {labels: {app: ratings}}
          outboundTrafficPolicy: {mode: REGISTRY_ONLY}
        """;
    Path config =
        world.configuration(
            world.policies(MainJobTest.POLICIES + sidecar), "capture: {backend: iptables-nft}\n");
    FailingIp6tables ip6tables = new FailingIp6tables(world);
    String[] verify = {
      "rules", "verify", "--netns", world.ratings.path().toString(), "--config", config.toString()
    };
    try (RunningAgent agent = ip6tables.start(config)) {
      Result closed = ip6tables.command(verify);
      assertThat(closed.exit()).as(closed + agent.log()).isZero();
      assertThat(closed.stderr()).contains("this pod is closed, other than by --config alone");
      assertThat(rules(config, "verify").exit()).isZero();
      verify[3] = world.reviews.path().toString();
      Result open = ip6tables.command(verify);
      assertThat(open.exit()).as(open.toString()).isZero();
      assertThat(open.stderr()).isEmpty();
      verify[3] = world.ratings.path().toString();
      agent.process().signal("KILL"); // it would put back what is taken away
      agent.process().awaitExit(Duration.ofSeconds(10));
    }
    ip6tables.fails();
    world.removeRules();
    try (RunningAgent agent = ip6tables.start(config)) {
      String pods = agent.page("15000/pods?format=json").stdout();
      assertThat(pods).contains("\"blocked\"", "\"uncaptured\"").doesNotContain("failing");
      assertThat(agent.log()).contains("every way out over IPv6 is prohibited", "out of order");
      Result blocked = ip6tables.command(verify);
      assertThat(blocked.exit()).as(blocked + agent.log()).isZero();
      agent.process().signal("KILL");
      agent.process().awaitExit(Duration.ofSeconds(10));
    }
    world.lab.exec(world.ratings, "ip", "-6", "rule", "del", "pref", "1").orThrow();
    Result unblocked = ip6tables.command(verify);
    assertThat(unblocked.exit()).isEqualTo(1);
    assertThat(unblocked.stdout()).contains("IPv6 rule 1: prohibit is missing");
    verify[1] = "apply";
    assertThat(ip6tables.command(verify).exit()).isZero();
    verify[1] = "verify";
    assertThat(ip6tables.command(verify).exit()).isZero();
  }

  @Test
  void whereNoAgentWasThatIsSaid() {
    Path config = world.configuration(policies, "");
    Result none = rules(config, "verify");
    assertThat(none.exit()).isEqualTo(1);
    assertThat(none.stdout()).contains("not installed");
    assertThat(none.stderr()).contains("no agent has captured it", "public mark");
  }
}
