package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// `rules --mode node` by hand, in the node's namespace, with every backend.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
class NodeRulesCommandTest {
  private static World world;
  private static Path configuration;

  @BeforeAll
  static void build() {
    world = World.build();
    configuration =
        world.configuration(
            world.policies(MainJobTest.POLICIES),
            "mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n");
  }

  @AfterAll
  static void remove() {
    if (world != null) {
      world.close();
    }
  }

  private static Result rules(String backend, String... arguments) {
    String[] all = new String[arguments.length + 5];
    all[0] = "rules";
    System.arraycopy(arguments, 0, all, 1, arguments.length);
    all[arguments.length + 1] = "--mode";
    all[arguments.length + 2] = "node";
    all[arguments.length + 3] = "--backend";
    all[arguments.length + 4] = backend;
    return RunningAgent.once(world, all);
  }

  private static String node(String command) {
    return world.lab.exec(world.lab.node(), "sh", "-c", command).stdout();
  }

  @ParameterizedTest
  @ValueSource(strings = {"iptables-nft", "iptables-legacy", "nft"})
  void rulesAreShownAppliedVerifiedAndRemovedWhole(String backend) {
    String config = configuration.toString();
    Result shown = rules(backend, "show", "--config", config);
    assertThat(shown.exit()).as(shown.toString()).isZero();
    assertThat(shown.stdout())
        .contains("fwmark 0x200/0x200", "15001", "15053")
        .contains(world.ratings.v4(), world.ratings.v6(), world.reviews.v4());
    Result absent = rules(backend, "verify", "--config", config);
    assertThat(absent.exit()).isEqualTo(1);
    assertThat(absent.stdout()).contains("policy route");
    assertThat(world.curlVia(world.ratings, "example.org", World.v4("example.org")).ok()).isTrue();

    Result applied = rules(backend, "apply", "--config", config);
    assertThat(applied.exit()).as(applied.toString()).isZero();
    Result verified = rules(backend, "verify", "--config", config);
    assertThat(verified.exit()).as(verified.toString()).isZero();
    assertThat(verified.stdout()).contains("as wanted");
    assertThat(world.curlVia(world.ratings, "example.org", World.v4("example.org")).ok())
        .as("without an agent nothing passes")
        .isFalse();

    node("ip rule del pref 32");
    Result less = rules(backend, "verify", "--config", config, "-o", "json");
    assertThat(less.exit()).isEqualTo(1);
    assertThat(less.stdout()).contains("\"differences\"", "IPv4 policy route");
    assertThat(rules(backend, "apply", "--config", config).exit()).isZero();
    assertThat(rules(backend, "verify", "--config", config).exit()).isZero();

    Result removed = rules(backend, "remove");
    assertThat(removed.exit()).as(removed.toString()).isZero();
    assertThat(
            node(
                "iptables-nft-save; ip6tables-nft-save; iptables-legacy-save;"
                    + " ip6tables-legacy-save; nft list ruleset; ip rule; ip -6 rule; ip route show"
                    + " table 133"))
        .doesNotContain("TAILWATER", "tailwater", "0x200", "local default");
    assertThat(world.curlVia(world.ratings, "example.org", World.v4("example.org")).ok()).isTrue();
  }

  @ParameterizedTest
  @CsvSource({"REGISTRY_ONLY, iptables-nft", "ALLOW_ANY, nft"})
  void whatARunningAgentHoldsIsAsWanted(String policy, String backend) {
    Path with =
        world.configuration(
            world.policies(MainJobTest.POLICIES),
            "mesh: {outboundTrafficPolicy: {mode: %s}}\ncapture: {mode: node, backend: %s}\n"
                .formatted(policy, backend));
    try (RunningAgent agent = RunningAgent.start(world, with)) {
      Result verified = RunningAgent.once(world, "rules", "verify", "--config", with.toString());
      assertThat(verified.exit()).as(verified + agent.log()).isZero();
    } finally {
      assertThat(rules(backend, "remove").exit()).isZero();
    }
  }

  @Test
  void anExampleIsShownWithoutAConfiguration() {
    Result shown = rules("nft", "show");
    assertThat(shown.exit()).isZero();
    assertThat(shown.stdout()).contains("iifname \"veth0\"", "tproxy", "fwmark 0x200/0x200");
  }

  @Test
  void verifyAndApplyNeedToKnowThePods() {
    for (String action : new String[] {"apply", "verify"}) {
      Result result = rules("auto", action);
      assertThat(result.exit()).isEqualTo(2);
      assertThat(result.stderr()).contains("--config is missing: it lists the pods of the node");
    }
  }

  /// As wg-quick leaves it.
  @Test
  void anAgentDoesNotStartWhereAllThatIsCapturedWouldBeDropped() {
    node("sysctl -qw net.ipv4.conf.all.src_valid_mark=1");
    try {
      Result preflight = RunningAgent.once(world, "preflight", "--mode", "node");
      assertThat(preflight.exit()).isEqualTo(3);
      assertThat(preflight.stdout())
          .contains("missing  source check by mark: on: net.ipv4.conf.all.src_valid_mark=1");
      Result run =
          RunningAgent.once(
              world,
              "run",
              "--config",
              world
                  .configuration(world.policies(MainJobTest.POLICIES), "capture: {mode: node}\n")
                  .toString());
      assertThat(run.exit()).as(run.toString()).isEqualTo(3);
      assertThat(run.stdout() + run.stderr()).contains("Set net.ipv4.conf.all.src_valid_mark to 0");
    } finally {
      node("sysctl -qw net.ipv4.conf.all.src_valid_mark=0");
    }
    assertThat(RunningAgent.once(world, "preflight", "--mode", "node").stdout())
        .contains("capture on the node, IPv6: works")
        .contains("Pods can be captured here.");
  }
}
