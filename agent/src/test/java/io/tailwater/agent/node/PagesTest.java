package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import io.tailwater.lab.Running;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/// What an operator sees in the node of a running agent: pages, commands, Prometheus.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "prometheus", "promtool"})
class PagesTest {
  private static final List<String> EIGHT =
      List.of(
          "cx_active",
          "cx_connect_fail",
          "cx_total",
          "rq_active",
          "rq_error",
          "rq_success",
          "rq_timeout",
          "rq_total");

  private static World world;
  private static RunningAgent agent;

  @BeforeAll
  static void start() {
    world = World.build();
    Path policies = world.policies(MainJobTest.POLICIES);
    agent =
        RunningAgent.start(
            world,
            world.configuration(
                policies, "mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n"));
    for (String site : List.of("en.wikipedia.org", "de.wikipedia.org", "edition.cnn.com")) {
      assertThat(world.curlViaDecoy(world.ratings, site).ok()).as(site).isTrue();
    }
    world.curlVia(world.ratings, "example.org", World.v4("example.org"));
    agent.awaitAccess("sni=\"example.org\"");
    agent.awaitAccess("sni=\"edition.cnn.com\"");
  }

  @AfterAll
  static void stop() {
    if (world != null) {
      world.close();
    }
  }

  private static Result node(String script) {
    return world.lab.exec(world.lab.node(), "sh", "-c", script);
  }

  @Test
  void clustersPrintTheEightLinesPerAddressThatIstiosUsersKnow() {
    String lines =
        node("curl -s localhost:15000/clusters | grep 'outbound|443||\\*\\.wikipedia\\.org' | grep"
                + " -E 'rq|cx'")
            .orThrow();
    for (String site : List.of("en.wikipedia.org", "de.wikipedia.org")) {
      long six = count(lines, "[" + World.v6(site) + "]:443::");
      long four = count(lines, World.v4(site) + ":443::");
      assertThat(Math.max(six, four)).as(lines).isEqualTo(EIGHT.size());
    }
    assertThat(lines)
        .containsPattern(":443::cx_total::[1-9]")
        .containsPattern(":443::rq_total::[1-9]");
  }

  private static long count(String lines, String address) {
    return EIGHT.stream().filter(key -> lines.contains(address + key + "::")).count();
  }

  @Test
  void readinessAnswersOnItsPort() {
    assertThat(
            node("curl -s -o /dev/null -w '%{http_code}' localhost:15021/healthz/ready").stdout())
        .isEqualTo("200");
    assertThat(agent.page("15000/ready").stdout()).contains("LIVE");
  }

  @Test
  void denialsShowTheRefusedNameAndTheYamlThatWouldAllowIt() {
    Result denials = RunningAgent.once(world, "denials");
    assertThat(denials.orThrow())
        .contains("example.org")
        .contains("ratings-v1")
        .contains("connection_closed")
        .contains("kind: ServiceEntry")
        .contains("exportTo")
        .doesNotContain("*.");
  }

  @Test
  void theSuggestedYamlPassesCheck() {
    String json = RunningAgent.once(world, "denials", "-o", "json").orThrow();
    assertThat(json).contains("example.org");
    String text = RunningAgent.once(world, "denials").orThrow();
    String yaml =
        text.substring(text.indexOf("apiVersion:"))
            .lines()
            .takeWhile(line -> !line.isBlank())
            .reduce("", (a, b) -> a + b + "\n");
    int indent = lineIndent(text);
    String plain =
        yaml.lines()
            .map(l -> l.startsWith(" ".repeat(indent)) ? l.substring(indent) : l)
            .reduce("", (a, b) -> a + b + "\n");
    Path file = World.write(world.lab.folder("suggested").resolve("entry.yaml"), plain);
    Result check = RunningAgent.once(world, "check", file.toString());
    assertThat(check.exit()).as(plain + check.stdout() + check.stderr()).isZero();
  }

  private static int lineIndent(String text) {
    int at = text.indexOf("apiVersion:");
    return at - (text.lastIndexOf('\n', at) + 1);
  }

  @Test
  void podsAndInventoryAndConnectionsTellWhatIs() {
    assertThat(RunningAgent.once(world, "pods").orThrow())
        .contains("ratings-v1")
        .contains("captured");
    assertThat(RunningAgent.once(world, "inventory").orThrow()).contains("en.wikipedia.org");
    try (PodSocket open = PodSocket.connect(world.ratings, World.DECOY, 443)) {
      World.await(
          () -> "the connection is shown",
          () -> agent.page("15000/connections").stdout().contains(World.DECOY + ":443"));
      open.reset();
    }
    World.await(
        () -> "no connection is left: " + agent.page("15000/connections").stdout(),
        () -> !agent.page("15000/connections").stdout().contains(World.DECOY));
  }

  @Test
  void configDumpAndListenersAreJsonWithThePolicyInForce() {
    Result dump = agent.page("15000/config_dump");
    assertThat(dump.orThrow())
        .contains("ListenersConfigDump")
        .contains("ClustersConfigDump")
        .contains("outbound|443||edition.cnn.com");
    assertThat(agent.page("15000/server_info").orThrow()).contains("LIVE");
    assertThat(agent.page("15000/stats").orThrow()).contains("cluster.");
  }

  @Test
  void explainAsksTheRunningAgent() {
    Result refused =
        RunningAgent.once(
            world,
            "explain",
            "--from",
            "default/ratings-v1",
            "--to",
            "example.org:443",
            "--expect",
            "refuse");
    assertThat(refused.exit()).as(refused.stdout() + refused.stderr()).isZero();
    Result allowed =
        RunningAgent.once(
            world,
            "explain",
            "--from",
            "default/ratings-v1",
            "--to",
            "fr.wikipedia.org:443",
            "--expect",
            "allow");
    assertThat(allowed.stdout() + allowed.stderr()).contains("wikipedia");
  }

  @Test
  void aPortOfTheAgentThatIsTakenEndsTheNextOneWith1() {
    // With the same state folder it would take over instead.
    Path other = agent.configuration().resolveSibling("another-agent.yaml");
    World.write(
        other, World.read(agent.configuration()).replaceAll("(?m)^stateDir: .*$", "$0-other"));
    Result second = RunningAgent.once(world, "run", "--config", other.toString());
    assertThat(second.exit()).as(second.stderr()).isEqualTo(1);
    assertThat(second.stderr())
        .contains("admin")
        .contains("127.0.0.1:15000")
        .doesNotContain("\tat ");
    assertThat(world.curlViaDecoy(world.ratings, "en.wikipedia.org").ok())
        .as("the first one goes on")
        .isTrue();
  }

  @Test
  void promtoolFindsNothingInTheMetrics() {
    Result check = node("curl -s localhost:15020/metrics | promtool check metrics");
    assertThat(check.exit()).as(check.stdout() + check.stderr()).isZero();
    assertThat(check.stdout() + check.stderr()).isEmpty();
  }

  @Test
  void prometheusScrapesOurSeries() {
    Path folder = world.lab.folder("prometheus");
    Path configuration =
        World.write(
            folder.resolve("prometheus.yaml"),
            """
            global: {scrape_interval: 1s}
            scrape_configs:
              - job_name: tailwater
                static_configs: [{targets: ['127.0.0.1:15020']}]
            """);
    try (Running prometheus =
        world.lab.start(
            world.lab.node(),
            "prometheus",
            "--config.file=" + configuration,
            "--storage.tsdb.path=" + folder.resolve("data"),
            "--web.listen-address=127.0.0.1:9090")) {
      prometheus.awaitTcp(9090, Duration.ofSeconds(20));
      World.await(
          () -> "the target is up and has our series\n" + query("up") + prometheus.output(),
          () ->
              query("up").contains("\"1\"")
                  && query("istio_tcp_connections_opened_total").contains("\"metric\"")
                  && query("tailwater_pods").contains("captured"));
    }
  }

  private static String query(String expression) {
    return node("curl -s 'localhost:9090/api/v1/query?query=" + expression + "'").stdout();
  }
}
