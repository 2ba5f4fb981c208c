package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;

/// A DNS server that is down, slow or lies, and names that move. Each test has names of its own,
/// because the agent remembers.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
@TestInstance(Lifecycle.PER_CLASS)
class DnsFaultsTest {
  private World world;
  private RunningAgent agent;

  /// How the pods are captured: YAML of top-level keys.
  String capture() {
    return "";
  }

  @BeforeAll
  void start() {
    world = World.build(Duration.ofSeconds(1));
    Path policies =
        world.policies(
            MainJobTest.POLICIES
                + """
                ---
                apiVersion: networking.istio.io/v1
                kind: ServiceEntry
                metadata: {name: moving, namespace: default}
                spec:
                  hosts: [example.org]
                  location: MESH_EXTERNAL
                  ports: [{number: 443, name: tls, protocol: TLS}]
                  resolution: DNS
                """);
    agent =
        RunningAgent.start(
            world,
            world.configuration(
                policies,
                """
                mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
                dns: {servers: [DNS], minRefreshRate: 1s, queryTimeout: 1s, maxStale: 0s, failureRefreshRate: {baseInterval: 1s, maxInterval: 1s}}
                """
                    + capture()));
  }

  @AfterAll
  void stop() {
    if (world != null) {
      world.close();
    }
  }

  private void isRefused(String site, String reason) {
    Result curl = world.curlViaDecoy(world.ratings, site);
    assertThat(curl.ok()).isFalse();
    assertThat(curl.stderr()).containsIgnoringCase("reset");
    agent.awaitAccess("sni=\"" + site + "\"", "reason=\"" + reason + "\"");
  }

  @Test
  void aNameThatDoesNotExistIsADnsFailure() {
    isRefused("nowhere.wikipedia.org", "dns_failure");
  }

  @Test
  void aPrivateAddressUnderAWildcardIsFiltered() {
    world.dns.point("inside.wikipedia.org", "10.1.2.3");
    isRefused("inside.wikipedia.org", "address_filtered");
    assertThat(agent.awaitAccess("sni=\"inside.wikipedia.org\"")).contains("10.1.2.3");
  }

  @Test
  void theMetadataAddressIsFiltered() {
    world.dns.point("meta.wikipedia.org", "169.254.169.254", "fd00:ec2::254");
    isRefused("meta.wikipedia.org", "address_filtered");
  }

  @Test
  void theNodesOwnAddressIsFiltered() {
    world.dns.point("node.wikipedia.org", world.lab.node().v4());
    isRefused("node.wikipedia.org", "address_filtered");
  }

  @Test
  void ofSeveralAddressesTheGoodOneIsTaken() {
    world.dns.point("en.wikipedia.org", "10.9.9.9", World.v4("en.wikipedia.org"));
    Result curl = world.curlViaDecoy(world.ratings, "en.wikipedia.org");
    assertThat(curl.stdout()).contains("server=" + World.v4("en.wikipedia.org"));
  }

  @Test
  void aNameThatMovesIsFollowedWhenItsTimeIsOver() {
    world.dns.point("example.org", World.v4("example.org"));
    World.await(
        () -> "the first address is reached",
        () ->
            world
                .curlViaDecoy(world.ratings, "example.org")
                .stdout()
                .contains("server=" + World.v4("example.org")));
    world.dns.point("example.org", World.v4("static.example.net"));
    World.await(
        () -> "the second address is reached",
        () ->
            world
                .curlViaDecoy(world.ratings, "example.org")
                .stdout()
                .contains("server=" + World.v4("static.example.net")));
  }

  @Test
  void aServerThatIsSlowOrDownIsADnsFailureAndLaterForgotten() {
    world.dns.pause();
    try {
      isRefused("slow.wikipedia.org", "dns_failure");
    } finally {
      world.dns.resume();
    }
    world.dns.stop();
    isRefused("down.wikipedia.org", "dns_failure");
    world.dns.restart();
    world.dns.point("de.wikipedia.org", World.v4("de.wikipedia.org"));
    World.await(
        () -> "names resolve again\n" + agent.log(),
        () -> world.curlViaDecoy(world.ratings, "de.wikipedia.org").ok());
  }
}
