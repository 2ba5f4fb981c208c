package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;

/// What the egress modes and outbound policies let through, with the access log in JSON.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
class ModesTest {
  private static World world;
  private static Path policies;

  @BeforeAll
  static void build() {
    world = World.build();
    world.dns.point("inside.wikipedia.org", "10.1.2.3");
    policies = world.policies(MainJobTest.POLICIES);
  }

  @AfterAll
  static void remove() {
    if (world != null) {
      world.close();
    }
  }

  private static final String JSON_LOG = "accessLog: {format: json, path: FOLDER/access.log}\n";

  private static void arrives(Result curl, String site, String address) {
    assertThat(curl.exit()).as(curl.stderr()).isZero();
    assertThat(curl.stdout())
        .contains("host=" + site)
        .contains("server=" + address)
        .endsWith("200\n");
  }

  @Nested
  @TestInstance(TestInstance.Lifecycle.PER_CLASS)
  class UnderAllowAny {
    private RunningAgent agent;

    @BeforeAll
    void start() {
      agent = RunningAgent.start(world, world.configuration(policies, JSON_LOG));
    }

    @AfterAll
    void stop() {
      agent.close();
    }

    @Test
    void anUnknownNameGoesWhereItWasDialled() {
      arrives(
          world.curlVia(world.ratings, "example.org", World.v4("example.org")),
          "example.org",
          World.v4("example.org"));
      assertThat(agent.awaitAccess("\"sni\":\"example.org\""))
          .startsWith("{")
          .contains("\"cluster\":\"PassthroughCluster\"")
          .contains("\"src.workload\":\"ratings-v1\"")
          .doesNotContain("would_block");
    }

    @Test
    void aKnownNameStillGoesByName() {
      Result curl = world.curlViaDecoy(world.ratings, "en.wikipedia.org");
      assertThat(curl.exit()).as(curl.stderr()).isZero();
      assertThat(curl.stdout()).contains("host=en.wikipedia.org").endsWith("200\n");
    }

    @Test
    void aKnownNameWithAFilteredAddressIsRefused() {
      Result curl =
          world.curlVia(world.ratings, "inside.wikipedia.org", World.v4("en.wikipedia.org"));
      assertThat(curl.stderr()).containsIgnoringCase("reset");
      agent.awaitAccess("\"sni\":\"inside.wikipedia.org\"", "\"reason\":\"address_filtered\"");
    }

    @Test
    void aServerThatSpeaksFirstIsHeardAtOnce() {
      try (TcpServer mail = TcpServer.start(world.lab, world.web, Map.of(2525, Behaviour.BANNER))) {
        assertThat(mail.process().isAlive()).isTrue();
        Result greeting = world.greet(world.ratings, World.v4("edition.cnn.com"), 2525);
        assertThat(greeting.stdout()).as(greeting.stderr()).contains("220 lab ready");
      }
    }

    @Test
    void udp443IsLetOut() {
      // Nobody listens there: the answer is the host's own, and the packet was let go.
      Result rules = world.lab.exec(world.ratings, "iptables-save");
      assertThat(rules.orThrow()).contains("REDIRECT").doesNotContain("--dport 443");
    }
  }

  @Nested
  @TestInstance(TestInstance.Lifecycle.PER_CLASS)
  class PerNamespace {
    private RunningAgent agent;

    @BeforeAll
    void start() {
      agent =
          RunningAgent.start(
              world,
              world.configuration(
                  policies,
                  "mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n"
                      + "egress: {namespaces: {default: audit, other: 'off'}}\n"
                      + JSON_LOG));
    }

    @AfterAll
    void stop() {
      agent.close();
    }

    @Test
    void auditLetsAnUnknownNamePassAndSaysThatItWouldBlock() {
      arrives(
          world.curlVia(world.ratings, "example.org", World.v4("example.org")),
          "example.org",
          World.v4("example.org"));
      assertThat(agent.awaitAccess("\"sni\":\"example.org\""))
          .contains("\"would_block\":true")
          .contains("\"reason\":\"connection_closed\"")
          .contains("\"mode\":\"audit\"");
    }

    @Test
    void auditSendsANameWithAFilteredAddressWhereItWasDialled() {
      // The host there does not know the name and says so by TLS alert: the bytes arrived.
      Result curl =
          world.curlVia(world.ratings, "inside.wikipedia.org", World.v4("en.wikipedia.org"));
      assertThat(curl.stderr()).contains("unrecognized name");
      assertThat(agent.awaitAccess("\"sni\":\"inside.wikipedia.org\""))
          .contains("\"would_block\":true")
          .contains("\"reason\":\"address_filtered\"")
          .contains("\"resolved_addr\":\"" + World.v4("en.wikipedia.org") + ":443\"");
    }

    @Test
    void auditStillTakesAKnownNameByName() {
      Result curl = world.curlViaDecoy(world.ratings, "de.wikipedia.org");
      assertThat(curl.exit()).as(curl.stderr()).isZero();
      assertThat(agent.awaitAccess("\"sni\":\"de.wikipedia.org\"")).doesNotContain("would_block");
    }

    @Test
    void offGoesWhereItWasDialledAndReadsNoName() {
      arrives(
          world.curlVia(world.reviews, "de.wikipedia.org", World.v4("de.wikipedia.org")),
          "de.wikipedia.org",
          World.v4("de.wikipedia.org"));
      assertThat(
              agent.awaitAccess(
                  "\"src.workload\":\"reviews-v1\"",
                  "\"original_dst\":\"" + World.v4("de.wikipedia.org") + ":443\""))
          .contains("\"mode\":\"off\"")
          .doesNotContain("\"sni\"")
          .doesNotContain("would_block");
      assertThat(world.curlViaDecoy(world.reviews, "de.wikipedia.org").ok())
          .as("nothing is looked up for a namespace that is off")
          .isFalse();
    }
  }
}
