package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.TwoNamespaces;
import io.tailwater.iptables.netlink.Routing;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.NodePlan;
import io.tailwater.iptables.rule.Strictness;
import io.tailwater.lab.NeedsRoot;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/// What a node without rules for IPv6 does with packets of its pods, asked of the kernel's routing
/// by `ip`. The server's namespace is the node, its `eth0` the pod's interface.
@NeedsRoot
class NodeIpv6BlockTest {
  private static final String OUTSIDE = "2001:db8::10";
  private static final String FIRST = "0:\tfrom all ipproto ipv6-icmp lookup local proto 133\n";
  private static final String LOCAL = "0:\tfrom all lookup local proto kernel\n";
  private static final String MAIN = "32766:\tfrom all lookup main proto kernel\n";

  private TwoNamespaces net;

  @BeforeAll
  static void warm() {
    NetworkNamespace.warmUp();
  }

  @BeforeEach
  void build() {
    net = new TwoNamespaces();
    onNode("link", "add", "up0", "type", "veth", "peer", "name", "up1");
    onNode("link", "add", "cali1", "type", "veth", "peer", "name", "cali2");
    for (String name : List.of("up0", "up1", "cali1", "cali2")) {
      onNode("link", "set", name, "up");
    }
    onNode("route", "add", "2001:db8::/32", "dev", "up0");
  }

  @AfterEach
  void tearDown() {
    net.close();
  }

  private String onNode(String... arguments) {
    String name = net.server().path().getFileName().toString();
    return TwoNamespaces.run(
        Stream.concat(Stream.of("ip", "-6", "-d", "-n", name), Stream.of(arguments))
            .toArray(String[]::new));
  }

  private String rules() {
    return onNode("rule").replaceAll(" +\n", "\n").replaceAll(" +", " ");
  }

  /// What becomes of a packet from the pod.
  private String way(String to, String incoming, String... more) {
    try {
      return onNode(
          Stream.concat(
                  Stream.of("route", "get", to, "from", TwoNamespaces.POD_V6, "iif", incoming),
                  Stream.of(more))
              .toArray(String[]::new));
    } catch (IllegalStateException e) {
      return String.valueOf(e.getMessage());
    }
  }

  private static NodePlan plan(List<String> strangers, NodePlan.Pod... pods) {
    return new NodePlan(List.of(pods), strangers, Optional.empty());
  }

  private static NodePlan.Pod pod(String name, boolean closed) {
    return new NodePlan.Pod(
        List.of(name),
        List.of(),
        CapturePlan.egress().withStrictness(Strictness.NONE.withClosed(closed)));
  }

  @Test
  void closedPodIsShutOutAndReachesNeitherTheWorldNorTheNode() {
    assertThat(way(OUTSIDE, "eth0")).contains("dev up0");
    assertThat(way(TwoNamespaces.SERVER_V6, "eth0")).contains("local");

    NodePlan plan = plan(List.of(), pod("eth0", true), pod("veth9", false));
    NodeIpv6Block.install(net.server(), plan);

    assertThat(NodeIpv6Block.verify(net.server(), plan)).isEmpty();
    assertThat(way(OUTSIDE, "eth0")).contains("Permission denied");
    assertThat(way(TwoNamespaces.SERVER_V6, "eth0", "ipproto", "tcp"))
        .contains("Permission denied");
    assertThat(way(TwoNamespaces.SERVER_V6, "eth0", "ipproto", "ipv6-icmp")).contains("local");
    assertThat(way(OUTSIDE, "eth0", "ipproto", "ipv6-icmp")).contains("Permission denied");
    assertThat(way(OUTSIDE, "cali1")).contains("dev up0");
    assertThat(onNode("route", "get", TwoNamespaces.POD_V6)).contains("dev eth0");
    assertThat(onNode("route", "get", TwoNamespaces.SERVER_V6)).contains("local");
  }

  @Test
  void rulesStandInOrderHoweverOftenTheyChangeAndNothingIsLeft() {
    String before = rules();
    assertThat(before).isEqualTo(LOCAL + MAIN);

    NodeIpv6Block.install(net.server(), plan(List.of(), pod("eth0", true)));
    NodeIpv6Block.install(net.server(), plan(List.of(), pod("eth0", true)));
    assertThat(rules())
        .isEqualTo(FIRST + "0:\tfrom all iif eth0 prohibit proto 133\n" + LOCAL + MAIN);

    NodeIpv6Block.install(net.server(), plan(List.of(), pod("eth0", true), pod("cali1", true)));
    assertThat(rules())
        .isEqualTo(
            FIRST
                + "0:\tfrom all iif eth0 prohibit proto 133\n"
                + "0:\tfrom all iif cali1 prohibit proto 133\n"
                + LOCAL
                + MAIN);

    NodeIpv6Block.install(net.server(), plan(List.of(), pod("cali1", true)));
    assertThat(rules())
        .isEqualTo(FIRST + "0:\tfrom all iif cali1 prohibit proto 133\n" + LOCAL + MAIN);

    assertThat(NodeIpv6Block.remove(net.server())).isTrue();
    assertThat(rules()).isEqualTo(before);
    assertThat(NodeIpv6Block.remove(net.server())).isFalse();
  }

  @Test
  void whatSomebodyTakesAwayOrPutsBeforeItIsToldAndBroughtBack() {
    NodePlan plan = plan(List.of(), pod("eth0", true), pod("cali1", true));
    NodeIpv6Block.install(net.server(), plan);
    String whole = rules();

    onNode("rule", "del", "pref", "0", "iif", "eth0", "prohibit");
    assertThat(NodeIpv6Block.verify(net.server(), plan))
        .containsExactly("IPv6 rule 0: from all iif eth0 prohibit is missing");
    NodeIpv6Block.install(net.server(), plan);
    assertThat(way(OUTSIDE, "eth0")).contains("Permission denied");

    onNode("rule", "del", "pref", "0", "ipproto", "ipv6-icmp");
    NodeIpv6Block.install(net.server(), plan);
    assertThat(NodeIpv6Block.verify(net.server(), plan)).isEmpty();
    assertThat(rules().lines().sorted()).isEqualTo(whole.lines().sorted().toList());
    assertThat(rules()).startsWith(FIRST);
  }

  @Test
  void strangersAreShutOutByNameAndThoseThatComeLaterWithAllThatIsNotSpared() {
    NodePlan plan = plan(List.of("cali+"), pod("eth0", true), pod("up1", false));
    NodeIpv6Block.install(net.server(), plan);

    assertThat(NodeIpv6Block.verify(net.server(), plan)).isEmpty();
    for (String closed : List.of("eth0", "cali1", "cali2")) {
      assertThat(way(OUTSIDE, closed)).as(closed).contains("Permission denied");
      assertThat(way(TwoNamespaces.SERVER_V6, closed)).as(closed).contains("Permission denied");
    }
    assertThat(way(OUTSIDE, "up1")).contains("dev up0");
    assertThat(onNode("route", "get", OUTSIDE)).contains("dev up0");
    assertThat(onNode("route", "get", TwoNamespaces.SERVER_V6)).contains("local");

    onNode("link", "add", "cali7", "type", "veth", "peer", "name", "other7");
    onNode("link", "set", "cali7", "up");
    onNode("link", "set", "other7", "up");
    assertThat(way(OUTSIDE, "cali7")).contains("Permission denied");
    assertThat(NodeIpv6Block.verify(net.server(), plan))
        .contains(
            "IPv6 rule 0: from all iif cali7 prohibit is missing",
            "IPv6 rule 1: from all iif other7 goto 3 is missing");
    NodeIpv6Block.install(net.server(), plan);
    assertThat(way(TwoNamespaces.SERVER_V6, "cali7")).contains("Permission denied");
    assertThat(way(OUTSIDE, "other7")).contains("dev up0");

    NodeIpv6Block.install(net.server(), plan(List.of("cali+"), pod("cali1", false)));
    assertThat(way(OUTSIDE, "cali1")).as("a pod by now, and open").contains("dev up0");
    assertThat(way(OUTSIDE, "eth0")).as("nobody's").contains("dev up0");

    assertThat(NodeIpv6Block.remove(net.server())).isTrue();
    assertThat(rules()).isEqualTo(LOCAL + MAIN);
  }

  @Test
  void preflightDoesNotTakeItForSomebodyElses() {
    NodeIpv6Block.install(net.server(), plan(List.of("cali+"), pod("eth0", true)));
    PolicyRoutes.NODE.install(net.server());
    assertThat(PolicyRoutes.NODE.verify(net.server())).isEmpty();
    try (Routing routing = Routing.open(net.server())) {
      assertThat(NodePreflight.routes(IpFamily.V6, routing.policyRules(true)).state())
          .isEqualTo(Preflight.Finding.State.OK);
    }
  }
}
