package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Where the kernel pass can be had, and what becomes of connections while no agent runs.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "iptables", "nft"})
@Timeout(200)
class KernelPassPlacesTest {
  private static final String EN = "en.wikipedia.org";
  private static final Duration SOON = Duration.ofSeconds(20);

  private World world;
  private Path policies;
  private RunningAgent agent;

  @BeforeEach
  void build() {
    world = World.build();
    policies = world.policies(MainJobTest.POLICIES);
    for (Place pod : List.of(world.ratings, world.reviews)) {
      world.lab.nameserver(pod, "203.0.113.99");
    }
  }

  @AfterEach
  void remove() {
    if (world != null) {
      world.close();
    }
  }

  private void start(String outbound, String capture) {
    start("kernel", outbound, capture);
  }

  private void start(String relay, String outbound, String capture) {
    agent =
        RunningAgent.start(
            world,
            world.configuration(
                policies,
                "mesh: {outboundTrafficPolicy: {mode: "
                    + outbound
                    + "}}\nrelay: "
                    + relay
                    + "\ncapture: {"
                    + capture
                    + "}\n"));
  }

  private void reached() {
    Result curl = world.curl(world.ratings, "https://" + EN + "/", "-4");
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
  }

  private void crash() {
    agent.process().signal("KILL");
    agent.process().awaitExit(SOON);
  }

  @ParameterizedTest
  @CsvSource({"iptables-legacy, in-pod", "iptables-legacy, node"})
  void legacyTablesHaveItToo(String backend, String mode) {
    start("REGISTRY_ONLY", "backend: " + backend + ", mode: " + mode);
    reached();

    assertThat(agent.awaitAccess("sni=\"" + EN + "\"", "connection complete"))
        .contains("grade=\"kernel\"");
    Result other = world.curlVia(world.ratings, "example.org", World.v4(EN));
    assertThat(other.exit()).isEqualTo(35);
  }

  @Test
  void whatAutoIsInPodsAndWhatOnTheNodeIsSaidWhereverOneLooks() {
    start("auto", "REGISTRY_ONLY", "mode: in-pod");
    reached();
    assertThat(agent.awaitAccess("sni=\"" + EN + "\"", "connection complete"))
        .contains("grade=\"kernel\"");
    assertThat(explained()).containsPattern("grade +kernel: the client's own bytes");
    agent.close();
    RunningAgent.once(world, "rules", "remove", "--netns", world.ratings.path().toString());
    RunningAgent.once(world, "rules", "remove", "--netns", world.reviews.path().toString());

    start("auto", "REGISTRY_ONLY", "mode: node");
    reached();
    assertThat(agent.awaitAccess("sni=\"" + EN + "\"", "connection complete"))
        .contains("grade=\"splice\"");
    assertThat(explained()).containsPattern("grade +splice: .*; not kernel: it needs sysctls");
    assertThat(agent.page("15000/pods").stdout()).contains("splice: it needs sysctls");
    assertThat(agent.log().lines().filter(line -> line.contains("it needs sysctls"))).hasSize(1);
  }

  private String explained() {
    return agent
        .page("15000/explain?from=default/ratings-v1&to=" + EN + ":443&resolve=true")
        .stdout();
  }

  @ParameterizedTest
  @ValueSource(strings = {"in-pod", "node"})
  void withoutAQueueInNftEverythingIsRelayed(String mode) {
    start("REGISTRY_ONLY", "backend: nft, mode: " + mode);
    reached();

    assertThat(agent.awaitAccess("sni=\"" + EN + "\"", "connection complete"))
        .contains("grade=\"splice\"");
    assertThat(agent.page("15000/pods").stdout()).contains("splice: no_nft_queue");
  }

  @ParameterizedTest
  @ValueSource(strings = {"in-pod", "node"})
  void whereFailuresOpenNewConnectionsPassWithoutAnAgent(String mode) {
    start("ALLOW_ANY", "onFailure: open, mode: " + mode);
    reached();
    assertThat(agent.awaitAccess("sni=\"" + EN + "\"", "connection complete"))
        .contains("grade=\"kernel\"");
    crash();

    Result curl = world.curlVia(world.ratings, EN, World.v4(EN));
    assertThat(curl.exit()).as(curl.stderr()).isZero();
  }

  @ParameterizedTest
  @ValueSource(strings = {"in-pod", "node"})
  void anOrderlyEndRefusesNewConnectionsOfClosedPods(String mode) {
    start("REGISTRY_ONLY", "mode: " + mode);
    reached();
    agent.stop();

    Result curl = world.curlVia(world.ratings, EN, World.v4(EN), "-m", "5");
    assertThat(curl.exit()).as(curl.stdout() + curl.stderr()).isIn(7, 28, 35);
    assertThat(curl.stdout()).doesNotContain("host=");
  }

  @Test
  void rulesThatSomebodyFlushesComeBackWithTheGate() {
    start("REGISTRY_ONLY", "mode: in-pod");
    reached();
    world.lab.exec(
        world.ratings, "sh", "-c", "iptables -F; iptables -t nat -F; iptables -t mangle -F");
    World.await(
        () -> "the rules: " + agent.log(),
        () -> world.lab.exec(world.ratings, "iptables", "-S").stdout().contains("NFQUEUE"));

    reached();
    World.await(
        () -> "two of them\n" + agent.accessLog(),
        () -> agent.accessLines("sni=\"" + EN + "\"", "grade=\"kernel\"").count() >= 2);
  }
}
