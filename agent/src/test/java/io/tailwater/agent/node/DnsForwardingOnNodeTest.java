package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.Running;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;

/// The same, captured on the node; and there, where all pods ask one socket, what a flood does to
/// the others.
class DnsForwardingOnNodeTest extends DnsForwardingTest {
  /// Far above what the rules let through of one pod, and within what a loaded machine sends.
  private static final int FLOOD = 20_000;

  private static final Path SCRIPT = Path.of("src/test/resources/dns-flood.py").toAbsolutePath();

  @Override
  String capture() {
    return "capture: {mode: node, backend: iptables-nft}\n";
  }

  @Nested
  @TestInstance(TestInstance.Lifecycle.PER_CLASS)
  class Flooded {
    private RunningAgent agent;

    @BeforeAll
    void start() {
      agent = agent("dns: {servers: [198.51.100.55]}", "");
    }

    @AfterAll
    void stop() {
      agent.close();
    }

    @Test
    void aPodThatSendsAllItCanCostsNoOtherAnAnswer() {
      try (Running flood = script(world.reviews, "flood", "5", "1000000")) {
        flood.awaitOutput("flooding", Duration.ofSeconds(15));
        Result patient =
            world.lab.exec(
                world.ratings,
                Duration.ofSeconds(40),
                List.of("python3", SCRIPT.toString(), NOBODY, "patient", "150", "0.02"));

        assertThat(patient.stdout().strip()).as(patient.toString()).isEqualTo("150 of 150");
        flood.awaitOutput("flooded", Duration.ofSeconds(20));
        assertThat(flood.output().lines().filter(line -> line.startsWith("flooded")))
            .allSatisfy(
                line -> assertThat(Integer.parseInt(line.split(" ")[1])).isGreaterThan(FLOOD));
      }
      assertThat(agent.page("15000/denials").stdout())
          .containsPattern("other/reviews-v1 .*" + NOBODY.replace(".", "\\.") + ":53 .*limit");
      String metrics = agent.page("15020/metrics").stdout();
      assertThat(metrics)
          .contains("tailwater_denials_total{namespace=\"other\",reason=\"limit\"")
          .doesNotContain("tailwater_denials_total{namespace=\"default\",reason=\"limit\"");
      assertThat(metrics.lines().filter(line -> line.startsWith("tailwater_dns_limited_total")))
          .as("those of the flood that the agent has seen")
          .hasSize(1)
          .allSatisfy(line -> {
            assertThat(line).contains("namespace=\"other\"");
            assertThat(Double.parseDouble(line.split(" ")[1])).isBetween(1.0, (double) FLOOD);
          });
    }

    private Running script(Place pod, String... arguments) {
      List<String> command = new ArrayList<>(List.of("python3", "-u", SCRIPT.toString(), NOBODY));
      command.addAll(List.of(arguments));
      return world.lab.start(pod, command.toArray(String[]::new));
    }
  }
}
