package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.api.Timeout;

/// `dns.answers: allocated`: a pod is told an address that only the agent knows, for every host of
/// policy, and reaches the host by it.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "dig"})
@Timeout(200)
@TestInstance(Lifecycle.PER_CLASS)
class DnsAllocatedTest {
  private static final String SITE = "edition.cnn.com";

  private World world;
  private Path configuration;

  /// How the pods are captured: YAML of top-level keys.
  String capture() {
    return "";
  }

  @BeforeAll
  void build() {
    world = World.build();
    world.lab.nameserver(world.ratings, "203.0.113.99");
    configuration =
        world.configuration(
            world.policies(MainJobTest.POLICIES),
            """
            mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
            dns: {servers: [DNS], answers: allocated}
            """
                    .replace("DNS", world.nameserver.v4())
                + capture());
  }

  @AfterAll
  void stop() {
    if (world != null) {
      world.close();
    }
  }

  private String told(String name, String type) {
    return world
        .lab
        .exec(world.ratings, "dig", "+short", "+tries=1", "+time=5", name, type)
        .orThrow()
        .strip();
  }

  @Test
  void podReachesHostsByAddressesThatAreOnlyTheirsAndKeepsThemOverARestart() {
    String v4;
    String v6;
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      v4 = told(SITE, "A");
      v6 = told(SITE, "AAAA");
      assertThat(v4).startsWith("240.240.");
      assertThat(v6).startsWith("2001:2:");
      assertThat(told("static.example.net", "A")).startsWith("240.240.").isNotEqualTo(v4);
      assertThat(told("example.org", "A")).as("forwarded").isEqualTo(World.v4("example.org"));

      for (String family : new String[] {"-4", "-6"}) {
        Result curl = world.curl(world.ratings, "https://" + SITE + "/", family);
        assertThat(curl.stdout())
            .as(curl.stderr() + agent.accessLog())
            .contains("host=" + SITE)
            .endsWith("200\n");
        assertThat(curl.stdout()).containsAnyOf(World.v4(SITE), World.v6(SITE));
      }
      assertThat(world.curl(world.ratings, "https://example.org/").ok()).isFalse();
    }
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      assertThat(told(SITE, "A")).as(agent.log()).isEqualTo(v4);
      assertThat(told(SITE, "AAAA")).isEqualTo(v6);
    }
  }
}
