package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// Capture on a node whose ip6tables does not work, from the start or from some time on: a closed
/// pod and one that is not known are shut over IPv6, an open one is as free as it would be in mode
/// in-pod, and IPv4 is captured for all.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
class NodeWithoutIp6tablesTest {
  private static final String SITE = "en.wikipedia.org";
  private static final int ON_THE_NODE = 7777;

  private static World world;
  private static Place stranger;
  private static FailingIp6tables ip6tables;

  @BeforeAll
  static void build() throws Exception {
    world = World.build();
    stranger = world.lab.addPod("stranger");
    ip6tables = new FailingIp6tables(world);
  }

  @AfterAll
  static void remove() {
    if (world != null) {
      world.close();
    }
  }

  private static Path configuration(String backend) {
    List<String> mine = new ArrayList<>();
    for (Place pod : List.of(world.ratings, world.reviews, stranger)) {
      mine.add(interfaceOf(pod)); // the lab's outside world has names like theirs
    }
    return world.configuration(
        world.policies(MainJobTest.POLICIES),
        """
        mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
        egress: {namespaces: {other: audit}}
        capture: {mode: node, backend: %s, interfaces: %s}
        """
            .formatted(backend, mine));
  }

  private static String interfaceOf(Place pod) {
    return node("ip -o route get " + pod.v4()).replaceFirst("(?s).* dev (\\S+) .*", "$1");
  }

  private static String node(String command) {
    return world.lab.exec(world.lab.node(), "sh", "-c", command).stdout();
  }

  private static String prohibitions() {
    return node("ip -6 -d rule").lines().filter(rule -> rule.contains("proto 133")).toList() + "";
  }

  private static boolean reaches(Place pod, String address) {
    Result curl = world.curlVia(pod, "example.org", address, "-m", "2");
    return curl.ok() && curl.stdout().contains("host=");
  }

  private static boolean reachesTheNode(Place pod) {
    String gateway =
        world
            .lab
            .exec(pod, "sh", "-c", "ip -6 route show default | cut -d' ' -f3")
            .stdout()
            .strip();
    String scope = gateway.startsWith("fe80") ? "%eth0" : "";
    return world
        .lab
        .exec(
            pod,
            "timeout",
            "2",
            "bash",
            "-c",
            "exec 3<>/dev/tcp/" + gateway + scope + "/" + ON_THE_NODE + " && head -n 1 <&3")
        .stdout()
        .contains("220 lab ready");
  }

  private static void arrives(RunningAgent agent, Place pod, String dialled) {
    Result curl = world.curlVia(pod, SITE, dialled);
    assertThat(curl.stdout()).as(curl.stderr() + agent.log()).contains("host=" + SITE);
  }

  private static void isReleased(RunningAgent agent, String address) {
    String[] line = {"grade=\"kernel\"", "connection complete"};
    long before = agent.accessLines(line).count();
    World.await(
        () -> address + "\n" + agent.page("15000/pods").stdout() + agent.log() + agent.accessLog(),
        () -> {
          arrives(agent, world.ratings, address);
          return agent.accessLines(line).count() > before;
        });
  }

  private static void awaitIpv6(RunningAgent agent, String ratings, String reviews) {
    World.await(
        () -> ratings + ": " + agent.page("15000/pods?format=json").stdout() + agent.log(),
        () -> {
          String pods = agent.page("15000/pods?format=json").stdout();
          return pods.contains("\"ipv6\": \"" + ratings + "\"")
              && pods.contains("\"ipv6\": \"" + reviews + "\"")
              && !pods.contains("failing");
        });
  }

  private static void closedOnesAreShutAndTheOpenOneIsNot() {
    for (Place pod : List.of(world.ratings, stranger)) {
      assertThat(reaches(pod, World.v6("example.org"))).as(pod.name()).isFalse();
      assertThat(reachesTheNode(pod)).as(pod.name()).isFalse();
    }
    assertThat(reaches(world.ratings, World.v4("example.org"))).isFalse();
    assertThat(reaches(stranger, World.v4("example.org"))).isFalse();
    assertThat(reaches(world.reviews, World.v6("example.org"))).isTrue();
    assertThat(reachesTheNode(world.reviews)).isTrue();
  }

  @Test
  void closedPodsAreShutOverIpv6UntilItWorksAgain() throws Exception {
    closedPodsAreShut("iptables-nft");
  }

  @Test
  @Tag("long")
  void closedPodsAreShutOverIpv6UntilItWorksAgainByLegacy() throws Exception {
    closedPodsAreShut("iptables-legacy");
  }

  private static void closedPodsAreShut(String backend) throws Exception {
    Path configuration = configuration(backend);
    String before = node("ip -6 rule");
    ip6tables.fails();
    try (TcpServer _ =
            TcpServer.start(world.lab, world.lab.node(), Map.of(ON_THE_NODE, Behaviour.BANNER));
        RunningAgent agent = ip6tables.start(configuration)) {
      assertThat(agent.log()).contains("capture on the node, IPv6", "blocked by policy rules");
      awaitIpv6(agent, "blocked", "uncaptured");
      arrives(agent, world.ratings, World.DECOY);
      closedOnesAreShutAndTheOpenOneIsNot();
      assertThat(world.curlVia(world.ratings, SITE, World.v6(SITE)).exit())
          .as("the client learns it at once, and takes IPv4 where it may")
          .isEqualTo(7);

      agent.awaitAccess("reason=\"ipv6\"", "src.workload=\"ratings-v1\"");

      node("ip -6 rule del pref 0 iif " + interfaceOf(world.ratings) + " prohibit");
      World.await(() -> "back\n" + agent.log(), () -> !reaches(world.ratings, World.v6(SITE)));

      Place late = world.lab.addPod("late-" + backend);
      World.await(
          () -> "who is no stranger is spared\n" + prohibitions(),
          () -> reaches(late, World.v6("example.org")));

      ip6tables.works();
      awaitIpv6(agent, "captured", "captured");
      assertThat(node("ip -6 rule")).doesNotContain("prohibit", "goto").contains("0x200/0x200");
      arrives(agent, world.ratings, World.DECOY_6);
      assertThat(reaches(stranger, World.v6("example.org"))).isFalse();

      ip6tables.fails();
      node(
          "nft add table inet poke; nft delete table inet poke"); // so that the rules are looked at
      awaitIpv6(agent, "blocked", "uncaptured");
      closedOnesAreShutAndTheOpenOneIsNot();

      agent.process().signal("KILL");
      agent.process().awaitExit(Duration.ofSeconds(10));
      assertThat(reaches(world.ratings, World.v6("example.org"))).isFalse();
      assertThat(reaches(stranger, World.v6("example.org"))).isFalse();
    } finally {
      ip6tables.works();
    }
    try (RunningAgent next = ip6tables.start(configuration)) {
      awaitIpv6(next, "captured", "captured");
      arrives(next, world.ratings, World.DECOY_6);
      assertThat(prohibitions()).isEqualTo("[]");
      assertThat(ip6tables.command("drain", "--uninstall").exit()).isZero();
    }
    World.await(
        () -> "nothing is left\n" + node("ip -6 rule"), () -> node("ip -6 rule").equals(before));
  }

  /// It is IPv6 that cannot be had, with or without the pass: IPv4 keeps it, and IPv6 gets it back.
  @Test
  void kernelPassOutlastsAnIp6tablesThatFails() throws Exception {
    Path configuration = configuration("iptables-nft");
    World.write(configuration, World.read(configuration) + "relay: kernel\n");
    ip6tables.fails();
    try (RunningAgent agent = ip6tables.start(configuration)) {
      awaitIpv6(agent, "blocked", "uncaptured");
      isReleased(agent, World.v4(SITE));
      assertThat(reaches(world.ratings, World.v6("example.org"))).isFalse();
      ip6tables.works();
      awaitIpv6(agent, "captured", "captured");
      isReleased(agent, World.v6(SITE));
      ip6tables.fails();
      node("nft add table inet poke; nft delete table inet poke");
      awaitIpv6(agent, "blocked", "uncaptured");
      isReleased(agent, World.v4(SITE));
    } finally {
      ip6tables.works();
    }
    assertThat(ip6tables.command("rules", "remove", "--mode", "node").exit()).isZero();
  }

  @Test
  void rulesByHandBlockToo() throws Exception {
    String config = configuration("iptables-nft").toString();
    ip6tables.fails();
    try {
      Result applied = ip6tables.command("rules", "apply", "--config", config);
      assertThat(applied.exit()).as(applied.toString()).isZero();
      assertThat(applied.stderr()).contains("closed pods have it blocked");
      assertThat(ip6tables.command("rules", "verify", "--config", config).exit()).isZero();
      assertThat(reaches(world.ratings, World.v6("example.org"))).isFalse();

      node("ip -6 rule del pref 0 iif " + interfaceOf(world.ratings) + " prohibit");
      Result verified = ip6tables.command("rules", "verify", "--config", config);
      assertThat(verified.exit()).isEqualTo(1);
      assertThat(verified.stdout()).contains("prohibit is missing");
    } finally {
      ip6tables.works();
      Result removed = ip6tables.command("rules", "remove", "--mode", "node");
      assertThat(removed.exit()).as(removed.toString()).isZero();
    }
    assertThat(prohibitions()).isEqualTo("[]");
    assertThat(reaches(world.ratings, World.v6("example.org"))).isTrue();
  }
}
