package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.Running;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.api.Timeout;

/// A neighbour of the DNS server who is faster than it: what does not come from the server that was
/// asked, with the question's own identifier and question, is not an answer; and there is nothing
/// by which the neighbour could know them.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "dig", "python3"})
@Timeout(200)
@TestInstance(Lifecycle.PER_CLASS)
class DnsSpoofTest {
  private static final String SERVER = "198.51.100.56";
  private static final String NEIGHBOUR = "198.51.100.57";

  /// Nobody is there.
  private static final String FALSE = "198.51.100.66";

  private World world;
  private Running liar;
  private RunningAgent agent;

  /// How the pods are captured: YAML of top-level keys.
  String capture() {
    return "";
  }

  @BeforeAll
  void build() {
    world = World.build();
    Place host = world.lab.addHost("liar", SERVER, NEIGHBOUR);
    liar =
        world.lab.start(
            host,
            "python3",
            "-u",
            Path.of("src/test/resources/dns-liar.py").toAbsolutePath().toString(),
            SERVER,
            NEIGHBOUR,
            World.v4("en.wikipedia.org"),
            FALSE);
    liar.awaitOutput("ready", Duration.ofSeconds(15));
    agent =
        RunningAgent.start(
            world,
            world.configuration(
                world.policies(MainJobTest.POLICIES),
                """
                mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
                dns: {servers: [SERVER]}
                """
                        .replace("SERVER", SERVER)
                    + capture()));
  }

  @AfterAll
  void stop() {
    if (world != null) {
      world.close();
    }
  }

  private String dig(String name) {
    return world
        .lab
        .exec(world.ratings, "dig", "+short", "+tries=1", "+time=4", "@203.0.113.99", name)
        .orThrow()
        .strip();
  }

  @Test
  void falseAnswersToLookUpsOfTheAgentAreIgnored() {
    Result curl = world.curlViaDecoy(world.ratings, "en.wikipedia.org");

    assertThat(curl.stdout())
        .as(curl.stderr() + agent.accessLog())
        .contains("server=" + World.v4("en.wikipedia.org"))
        .endsWith("200\n");
  }

  @Test
  void falseAnswersToForwardedQuestionsAreIgnoredAndNothingCanBeForetold() {
    int before = asked().size();
    for (int i = 0; i < 40; i++) {
      assertThat(dig("host-" + i + ".example.com")).isEqualTo(World.v4("en.wikipedia.org"));
    }

    List<int[]> asked = asked().subList(before, asked().size());
    assertThat(asked).hasSizeGreaterThanOrEqualTo(40);
    for (int field : new int[] {0, 1}) {
      List<Integer> values = asked.stream().map(one -> one[field]).toList();
      assertThat(values.stream().distinct().count())
          .as(field == 0 ? "ports " + values : "identifiers " + values)
          .isGreaterThan(asked.size() * 8L / 10);
      // Of random numbers nearly none follows the one before it closely.
      assertThat(
              IntStream.range(1, values.size())
                  .filter(i -> Math.abs(values.get(i) - values.get(i - 1)) < 8)
                  .count())
          .as("neighbours in " + values)
          .isLessThan(asked.size() / 4);
    }
  }

  /// Port and identifier of every question that has arrived.
  private List<int[]> asked() {
    return liar.output()
        .lines()
        .filter(line -> line.startsWith("asked "))
        .map(line -> line.split(" ", -1))
        .map(words -> new int[] {Integer.parseInt(words[1]), Integer.parseInt(words[2])})
        .toList();
  }
}
