package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

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
  void rulesByHandAreTheSameAsTheAgents() {
    Place pod = world.ratings;
    String[] apply = {"rules", "apply", "--netns", pod.path().toString()};
    String[] verify = {"rules", "verify", "--netns", pod.path().toString()};
    try {
      assertThat(RunningAgent.once(world, verify).stdout()).contains("not installed");
      Result applied = RunningAgent.once(world, apply);
      assertThat(applied.stdout()).as(applied.stderr()).contains("guard at the interfaces: on");
      Result verified = RunningAgent.once(world, verify);
      assertThat(verified.exit()).as(verified.stdout() + verified.stderr()).isZero();

      world.lab.exec(pod, "nft", "flush", "chain", "netdev", "tailwater-guard", "judge").orThrow();
      assertThat(RunningAgent.once(world, verify).stdout()).contains("what it lets pass");
      world.lab.exec(pod, "nft", "delete", "table", "netdev", "tailwater-guard").orThrow();
      verified = RunningAgent.once(world, verify);
      assertThat(verified.exit()).isEqualTo(1);
      assertThat(verified.stdout()).contains("incomplete", "the guard at the interfaces");

      assertThat(RunningAgent.once(world, apply).ok()).isTrue();
      world.lab.exec(pod, "ip", "link", "add", "late", "type", "veth", "peer", "name", "later");
      assertThat(RunningAgent.once(world, verify).stdout()).contains("the guard at late");
    } finally {
      world.lab.exec(pod, "ip", "link", "del", "late");
      rulesRemoved(pod);
    }
    assertThat(world.lab.exec(pod, "nft", "list", "tables").orThrow()).doesNotContain("tailwater");
    assertThat(RunningAgent.once(world, verify).stdout()).contains("not installed");
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
  void anAgentThatIsKilledLeavesThePodsClosedAndTheNextOneTakesOver() {
    Path configuration = world.configuration(policies, CLOSED);
    String site = "en.wikipedia.org";
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      agent.process().signal("KILL");
      agent.process().awaitExit(Duration.ofSeconds(10));
      assertThat(world.curlVia(world.ratings, site, World.v4(site)).exit()).isEqualTo(7);
    }
    try (RunningAgent next = RunningAgent.start(world, configuration)) {
      assertThat(world.curlViaDecoy(world.ratings, site).ok()).as(next.log()).isTrue();
    }
    for (Place pod : new Place[] {world.ratings, world.reviews}) {
      rulesRemoved(pod);
    }
  }

  @Test
  void drainLetsGoOfThePodsAndWhatIsOpenGoesOn() {
    Path configuration = world.configuration(policies, "");
    try (TcpServer echo = TcpServer.start(world.lab, world.web, Map.of(2525, Behaviour.ECHO));
        RunningAgent agent = RunningAgent.start(world, configuration);
        PodSocket client = PodSocket.connect(world.ratings, World.v4("example.org"), 2525)) {
      assertThat(echo.process().isAlive()).isTrue();
      client.send("before\n");
      assertThat(client.readLine(Duration.ofSeconds(10))).isEqualTo("before");
      Result drain = RunningAgent.once(world, "drain");
      assertThat(drain.exit()).as(drain.stdout() + drain.stderr()).isZero();
      World.await(
          () -> "the pods are let go of\n" + agent.log(),
          () -> agent.page("15021/healthz/ready").stdout().contains("drained"));
      client.send("after\n");
      assertThat(client.readLine(Duration.ofSeconds(10))).isEqualTo("after");
      assertThat(agent.stop()).as(agent.log()).isZero();
    }
    for (Place pod : new Place[] {world.ratings, world.reviews}) {
      rulesRemoved(pod);
    }
  }

  /// Translation is switched off with the last rule that needs it; here something holds it on until
  /// the last connection has ended.
  @ParameterizedTest
  @ValueSource(strings = {"iptables-nft", "iptables-legacy", "nft"})
  void drainWithUninstallLeavesOpenConnectionsAlone(String backend) throws Exception {
    Path configuration = world.configuration(policies, "capture: {backend: " + backend + "}\n");
    String address = World.v4("example.org");
    try (TcpServer _ = TcpServer.start(world.lab, world.web, Map.of(2525, Behaviour.ECHO));
        RunningAgent agent = RunningAgent.start(world, configuration);
        PodSocket client = PodSocket.connect(world.ratings, address, 2525)) {
      client.send("before\n");
      assertThat(client.readLine(Duration.ofSeconds(10))).isEqualTo("before");
      assertThat(RunningAgent.once(world, "drain", "--uninstall").exit()).isZero();
      World.await(
          () -> "the rules are gone\n" + everything() + agent.log(),
          () -> !everything().contains("TAILWATER") && !everything().contains("15001"));
      for (int i = 0; i < 20; i++) {
        client.send("line " + i + "\n");
        assertThat(client.readLine(Duration.ofSeconds(10))).isEqualTo("line " + i);
        Thread.sleep(100);
      }
      try (PodSocket direct = PodSocket.connect(world.ratings, address, 2525)) {
        direct.send("direct\n");
        assertThat(direct.readLine(Duration.ofSeconds(10))).isEqualTo("direct");
        assertThat(agent.page("15000/connections").stdout())
            .contains(":" + client.localAddress().getPort())
            .doesNotContain(":" + direct.localAddress().getPort());
      }
      assertThat(everything()).contains("tailwater-hold");
      client.shutdownOutput();
      assertThat(client.end(Duration.ofSeconds(10))).isEqualTo(PodSocket.End.CLOSED);
      World.await(() -> "no trace\n" + everything(), () -> !everything().contains("tailwater"));
      assertThat(agent.stop()).as(agent.log()).isZero();
    }
  }

  @Test
  void drainWithUninstallUnderLoadLosesNoConnection() {
    Path configuration = world.configuration(policies, "");
    String address = World.v4("example.org");
    try (TcpServer _ = TcpServer.start(world.lab, world.web, Map.of(2525, Behaviour.ECHO));
        RunningAgent agent = RunningAgent.start(world, configuration);
        Load load = Load.start(world.ratings, address, 2525, 4, 2, 5)) {
      World.await(() -> "lines", () -> load.keptLines() > 100 && load.freshLines() > 50);
      assertThat(RunningAgent.once(world, "drain", "--uninstall").exit()).isZero();
      World.await(
          () -> "the rules are gone\n" + everything() + agent.log(),
          () -> !everything().contains("TAILWATER"));
      long kept = load.keptLines();
      long fresh = load.freshLines();
      World.await(
          () -> "more lines" + load.keptFailures() + load.freshFailures(),
          () -> load.keptLines() > kept + 100 && load.freshLines() > fresh + 50);
      assertThat(load.keptFailures()).isEmpty();
      assertThat(load.freshFailures()).isEmpty();
    }
  }

  /// What of rules there is in the pod, by all who keep some.
  private static String everything() {
    return world
        .lab
        .exec(
            world.ratings,
            "sh",
            "-c",
            "nft list ruleset; iptables-legacy-save; ip6tables-legacy-save; ipset list -name")
        .orThrow();
  }

  @Test
  void drainWithUninstallRemovesEveryRule() {
    try (RunningAgent agent = RunningAgent.start(world, world.configuration(policies, CLOSED))) {
      assertThat(RunningAgent.once(world, "drain", "--uninstall").exit()).isZero();
      World.await(
          () -> "the rules are gone\n" + agent.log(),
          () -> !rules(world.ratings).contains("REDIRECT"));
      assertThat(agent.stop()).as(agent.log()).isZero();
    }
    assertThat(rules(world.ratings)).doesNotContain("TAILWATER");
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
