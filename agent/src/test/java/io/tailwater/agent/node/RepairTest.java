package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Rules that somebody changes come back, and those who talk meanwhile do not notice.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
@Timeout(180)
class RepairTest {
  private static final int PORT = 2525;

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

  /// Where it is tried: how pods are captured, by what, over which family of addresses.
  private record Place(String mode, String backend, boolean v6) {
    boolean onNode() {
      return mode.equals("node");
    }

    /// The namespace that has the rules.
    io.tailwater.lab.Place rules() {
      return onNode() ? world.lab.node() : world.ratings;
    }

    /// The rules that take connections to the agent, as the backend tells them.
    String captures() {
      String[] tell =
          backend.equals("nft")
              ? new String[] {"nft", "-s", "list", "ruleset"}
              : new String[] {
                (v6 ? backend.replace("iptables", "ip6tables") : backend) + "-save",
                "-t",
                onNode() ? "mangle" : "nat"
              };
      return world
          .lab
          .exec(rules(), tell)
          .orThrow()
          .lines()
          .filter(line -> line.matches("(?i).*(REDIRECT|redirect to|tproxy).*"))
          .sorted()
          .reduce("", (a, b) -> a + b + "\n");
    }
  }

  /// While the redirection alone is gone, what begins is refused, because nobody redirected it.
  @ParameterizedTest
  @CsvSource({
    "in-pod, iptables-nft, 4, iptables-nft -t nat -F TAILWATER_OUTPUT, refused",
    "in-pod, nft, 6, nft delete table inet tailwater, pass",
    "in-pod, iptables-legacy, 4, iptables-legacy -t nat -F, refused",
    "node, iptables-nft, 4, iptables-nft -t mangle -F, pass",
  })
  void flushedRulesComeBackAndNoLiveConnectionIsLost(
      String mode, String backend, int family, String flush, String meanwhile) throws Exception {
    comesBack(new Place(mode, backend, family == 6), flush, meanwhile);
  }

  @Tag("long")
  @ParameterizedTest
  @CsvSource({
    "in-pod, iptables-nft, 4, nft flush ruleset, pass",
    "in-pod, iptables-nft, 6, nft flush ruleset, pass",
    "in-pod, nft, 4, nft flush ruleset, pass",
    "in-pod, nft, 4, nft flush chain inet tailwater nat-output-ipv4, refused",
    "in-pod, iptables-legacy, 6, ip6tables-legacy -t nat -F, refused",
    "node, iptables-nft, 6, nft flush ruleset, pass",
    "node, nft, 4, nft flush ruleset, pass",
    "node, iptables-legacy, 4, iptables-legacy -t mangle -F, pass",
  })
  void soTheyDoOnEveryBackendInBothModesAndFamilies(
      String mode, String backend, int family, String flush, String meanwhile) throws Exception {
    comesBack(new Place(mode, backend, family == 6), flush, meanwhile);
  }

  /// Where changes are notified rules are back within a second, else within the time that `pods`
  /// states. Of several flushes the median counts: other programs run on this machine too.
  private static void comesBack(Place place, String flush, String meanwhile) throws Exception {
    Path configuration =
        world.configuration(
            policies, "capture: {mode: %s, backend: %s}\n".formatted(place.mode, place.backend));
    String address = place.v6 ? World.v6("example.org") : World.v4("example.org");
    boolean isNotified = !place.backend.equals("iptables-legacy");
    int flushes = isNotified ? 5 : 3;
    List<Duration> back = new ArrayList<>();
    try (TcpServer _ = TcpServer.start(world.lab, world.web, Map.of(PORT, Behaviour.ECHO));
        RunningAgent agent = RunningAgent.start(world, configuration)) {
      try (Load load = Load.start(world.ratings, address, PORT, 4, 2, 5)) {
        World.await(() -> "lines", () -> load.keptLines() > 100 && load.freshLines() > 50);
        Thread.sleep(500); // what the agent's own changes caused is over
        assertThat(repairs(agent, "notified") + repairs(agent, "swept")).isZero();
        String wanted = place.captures();
        assertThat(wanted).isNotEmpty();

        for (int time = 1; time <= flushes; time++) {
          long flushed = System.nanoTime();
          world.lab.exec(place.rules(), flush.split(" ")).orThrow();
          World.await(
              () -> "the rules again\n" + agent.log(), () -> place.captures().equals(wanted));
          back.add(Duration.ofNanos(System.nanoTime() - flushed));
          Thread.sleep(200); // what began before has ended
          if (meanwhile.equals("refused")) {
            assertThat(load.freshFailures()).allMatch(why -> why.contains("Connection refused"));
            load.forgetFreshFailures();
          }
        }

        long kept = load.keptLines();
        long fresh = load.freshLines();
        World.await(
            () -> "more lines",
            () -> load.keptLines() > kept + 50 && load.freshLines() > fresh + 50);
        assertThat(load.keptFailures()).isEmpty();
        assertThat(load.freshFailures()).isEmpty();
      }
      System.out.println(place + ": back after " + back);
      assertThat(median(back)).isLessThan(stated(agent).plusSeconds(1));
      World.await(
          () -> "each repair is counted\n" + agent.page("15020/metrics").stdout(),
          () -> repairs(agent, "notified") + repairs(agent, "swept") >= flushes);
      // A sweep may come just then, and first.
      assertThat(repairs(agent, isNotified ? "notified" : "swept"))
          .isGreaterThan(repairs(agent, isNotified ? "swept" : "notified"));
      assertThat(agent.log()).contains("putting them back");
    } finally {
      world.removeRules();
      RunningAgent.once(world, "rules", "remove", "--mode", "node", "--netns", "/proc/self/ns/net");
    }
  }

  private static Duration median(List<Duration> all) {
    return all.stream().sorted().skip(all.size() / 2).findFirst().orElseThrow();
  }

  /// How long a change may go unnoticed, as `pods` says: not at all where it is notified.
  private static Duration stated(RunningAgent agent) {
    String pods = agent.page("15000/pods?format=json").stdout();
    Matcher drift =
        Pattern.compile("\"drift\": \"(notified, )?swept every (\\d+) s\"").matcher(pods);
    assertThat(drift.find()).as(pods).isTrue();
    return drift.group(1) != null
        ? Duration.ZERO
        : Duration.ofSeconds(Integer.parseInt(drift.group(2)));
  }

  private static long repairs(RunningAgent agent, String noticed) {
    return agent
        .page("15020/metrics")
        .stdout()
        .lines()
        .filter(line -> line.startsWith("tailwater_rule_repairs_total{noticed=\"" + noticed + "\""))
        .mapToLong(line -> (long) Double.parseDouble(line.substring(line.lastIndexOf(' ') + 1)))
        .sum();
  }
}
