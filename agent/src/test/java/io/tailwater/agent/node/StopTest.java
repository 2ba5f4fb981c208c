package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/// The end of an agent, what it leaves, and the next one.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
class StopTest {
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

  private static String rules(Place pod) {
    return world.lab.exec(pod, "sh", "-c", "iptables-save; ip6tables-save").orThrow();
  }

  private static void rulesRemoved(Place pod) {
    Result removed = RunningAgent.once(world, "rules", "remove", "--netns", pod.path().toString());
    assertThat(removed.exit()).as(removed.stderr()).isZero();
    assertThat(rules(pod)).doesNotContain("REDIRECT").doesNotContain("REJECT");
  }

  @Test
  void aPodUnderRegistryOnlyStaysClosedUntilTheNextAgentOrRulesRemove() {
    Path configuration = world.configuration(policies, CLOSED);
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      assertThat(world.curlViaDecoy(world.ratings, "en.wikipedia.org").ok()).isTrue();
      assertThat(agent.stop()).as(agent.log()).isZero();
    }
    assertThat(rules(world.ratings)).contains("REDIRECT --to-ports 15001");
    String site = "en.wikipedia.org";
    Result meanwhile = world.curlVia(world.ratings, site, World.v4(site));
    assertThat(meanwhile.exit()).as("refused: nobody listens").isEqualTo(7);

    try (RunningAgent next = RunningAgent.start(world, configuration)) {
      assertThat(world.curlViaDecoy(world.ratings, site).ok()).as(next.log()).isTrue();
      assertThat(rules(world.ratings).lines().filter(l -> l.contains("--to-ports 15001")))
          .as("installed twice is installed once")
          .hasSize(2);
    }
    for (Place pod : new Place[] {world.ratings, world.reviews}) {
      rulesRemoved(pod);
    }
    assertThat(world.curlVia(world.ratings, site, World.v4(site)).ok()).isTrue();
  }

  @Test
  void aSignalWhileItStartsLeavesNoRulesWithoutAnAgentBehind() {
    Path configuration = world.configuration(policies, CLOSED);
    try (RunningAgent agent = RunningAgent.launch(world, configuration)) {
      assertThat(agent.stop()).isIn(0, 143);
    }
    for (Place pod : new Place[] {world.ratings, world.reviews}) {
      rulesRemoved(pod);
    }
  }

  @Test
  void aDownloadThatRunsIsEndedWithTheAgent() {
    Path configuration = world.configuration(policies, "");
    try (RunningAgent agent = RunningAgent.start(world, configuration);
        PodSocket client = PodSocket.connect(world.ratings, World.v4("en.wikipedia.org"), 80)) {
      client.send("GET /big HTTP/1.1\r\nHost: en.wikipedia.org\r\n\r\n");
      assertThat(client.readLine(Duration.ofSeconds(10))).contains("200");
      assertThat(agent.stop()).as(agent.log()).isZero();
      assertThat(client.end(Duration.ofSeconds(10))).isNotEqualTo(PodSocket.End.STILL_OPEN);
    }
    for (Place pod : new Place[] {world.ratings, world.reviews}) {
      rulesRemoved(pod);
    }
  }
}
