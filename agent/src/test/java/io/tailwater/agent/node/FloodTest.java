package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// A pod that invents names by the thousand and sends refused packets as fast as it can: the agent
/// keeps so many of each pod and no more, and what other pods did is still told.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "python3"})
@Timeout(300)
class FloodTest {
  private static final String SCRIPT =
      Path.of("src/test/python/flood.py").toAbsolutePath().toString();

  /// More than any bound of the agent's.
  private static final int NAMES = 3000;

  private static final int DATAGRAMS = 100_000;
  private static final Pattern RESIDENT = Pattern.compile("VmRSS:\\s+(\\d+) kB");

  private static World world;
  private static RunningAgent agent;

  @BeforeAll
  static void start() {
    world = World.build();
    agent =
        RunningAgent.start(
            world,
            world.configuration(
                world.policies(MainJobTest.POLICIES),
                """
                mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
                capture: {udp: all}
                """));
  }

  @AfterAll
  static void stop() {
    if (world != null) {
      world.close();
    }
  }

  private static void flood(String how, int count) {
    assertThat(
            world
                .lab
                .exec(
                    world.ratings,
                    Duration.ofSeconds(150),
                    List.of("python3", SCRIPT, how, World.DECOY, Integer.toString(count)))
                .orThrow())
        .contains("done");
  }

  private static long residentKilobytes() throws IOException {
    var found =
        RESIDENT.matcher(
            Files.readString(Path.of("/proc", Long.toString(agent.process().pid()), "status")));
    assertThat(found.find()).isTrue();
    return Long.parseLong(found.group(1));
  }

  private static long items(String page, String pod) {
    return agent.page(page + "?format=json").stdout().split("\"pod\": \"" + pod + "\"", -1).length
        - 1L;
  }

  private static void refusedOf(Place pod, String site) {
    assertThat(world.curlViaDecoy(pod, site).ok()).isFalse();
  }

  @Test
  void floodOfNamesAndPacketsIsBoundedAndOtherPodsAreStillTold() throws IOException {
    refusedOf(world.reviews, "before.example");
    flood("names", 200); // what the first connections load is not the flood's
    flood("udp", 2000);
    long before = residentKilobytes();

    flood("names", NAMES);
    flood("udp", DATAGRAMS);
    refusedOf(world.reviews, "after.example");

    assertThat(items("15000/inventory", "ratings-v1")).isBetween(900L, 1000L);
    assertThat(items("15000/denials", "ratings-v1")).isBetween(100L, 200L);
    for (String page : new String[] {"15000/inventory", "15000/denials"}) {
      assertThat(agent.page(page).stdout()).contains("before.example", "after.example");
    }
    agent.awaitAccess("reason", "src.workload=\"reviews-v1\"", "after.example");
    assertThat(residentKilobytes() - before).as("kilobytes more").isLessThan(40_000);
    assertThat(world.curlViaDecoy(world.ratings, "en.wikipedia.org").stdout()).endsWith("200\n");
    // The kernel tells so many datagrams a second, and counts the rest.
    assertThat(agent.accessLines("reason=\"udp\"", "src.workload=\"ratings-v1\"").count())
        .isLessThan(DATAGRAMS / 10);
  }
}
