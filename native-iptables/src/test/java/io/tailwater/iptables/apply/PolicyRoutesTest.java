package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.iptables.TwoNamespaces;
import io.tailwater.iptables.netlink.HostSide;
import io.tailwater.iptables.netlink.Routing;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.lab.NeedsRoot;
import java.net.InetAddress;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/// The policy routes and interfaces of real namespaces; `ip` says the same of them.
@NeedsRoot
class PolicyRoutesTest {
  private static final InetAddress POD_V4 = InetAddress.ofLiteral(TwoNamespaces.POD_V4);
  private static final InetAddress POD_V6 = InetAddress.ofLiteral(TwoNamespaces.POD_V6);

  private TwoNamespaces net;

  @BeforeAll
  static void warm() {
    NetworkNamespace.warmUp();
  }

  @BeforeEach
  void build() {
    net = new TwoNamespaces();
  }

  @AfterEach
  void tearDown() {
    net.close();
  }

  @Test
  void routesAreAddedOnceAndTakenAwayWhole() {
    String before = rules();

    PolicyRoutes.NODE.install(net.pod());
    PolicyRoutes.NODE.install(net.pod());

    assertThat(PolicyRoutes.NODE.verify(net.pod())).isEmpty();
    assertThat(rules().lines().filter(rule -> rule.contains("0x200/0x200 lookup 133"))).hasSize(2);
    assertThat(rules()).contains("32:\tfrom all fwmark 0x200/0x200 lookup 133");
    assertThat(net.inPod("ip", "route", "show", "table", "133")).contains("local default dev lo");
    assertThat(net.inPod("ip", "-6", "route", "show", "table", "133"))
        .contains("local default dev lo");

    assertThat(PolicyRoutes.NODE.remove(net.pod())).isTrue();
    assertThat(rules()).isEqualTo(before);
    assertThat(net.inPod("sh", "-c", "ip route show table 133 2>&1 || true"))
        .doesNotContain("default");
    assertThat(PolicyRoutes.NODE.remove(net.pod())).isFalse();
  }

  @Test
  void whatIsMissingIsNamedAndAddedAgain() {
    PolicyRoutes.NODE.install(net.pod());
    net.inPod("ip", "rule", "del", "pref", "32");
    net.inPod("ip", "-6", "route", "flush", "table", "133");

    assertThat(PolicyRoutes.NODE.verify(net.pod()))
        .satisfiesExactly(
            four -> assertThat(four).startsWith("IPv4 policy route"),
            six -> assertThat(six).startsWith("IPv6 policy route"));

    PolicyRoutes.NODE.install(net.pod());
    assertThat(PolicyRoutes.NODE.verify(net.pod())).isEmpty();
  }

  @Test
  void aRuleThatComesFirstIsTold() {
    net.inPod("ip", "rule", "add", "fwmark", "0x200/0x200", "pref", "20", "lookup", "main");

    assertThatThrownBy(() -> PolicyRoutes.NODE.install(net.pod()))
        .isInstanceOf(RulesException.class)
        .hasMessageContaining("IPv4")
        .hasMessageContaining("another rule comes before preference 32");
  }

  @Test
  void thePodsInterfaceIsFoundOnTheNode() {
    try (Routing node = Routing.open(net.server())) {
      HostSide found = HostSide.of(node, net.pod(), List.of(POD_V4, POD_V6));

      assertThat(found.interfaces()).containsExactly("eth0");
      assertThat(found.addresses()).containsExactly(POD_V4, POD_V6);
      assertThat(found.problems()).isEmpty();
    }
  }

  @Test
  void anAddressThatThePodGaveItselfIsNotThePods() {
    net.inPod("ip", "addr", "add", "10.91.0.7/32", "dev", "eth0");
    try (Routing node = Routing.open(net.server())) {
      HostSide found =
          HostSide.of(node, net.pod(), List.of(POD_V4, InetAddress.ofLiteral("10.91.0.7")));

      assertThat(found.addresses()).containsExactly(POD_V4);
    }
  }

  @Test
  void anInterfaceWithoutAnEndOnTheNodeIsTold() {
    TwoNamespaces.run(
        "ip", "-n", name(net.server()), "link", "add", "mac1", "link", "eth0", "type", "macvlan");
    TwoNamespaces.run(
        "ip", "-n", name(net.server()), "link", "set", "mac1", "netns", name(net.pod()));
    try (Routing node = Routing.open(net.server())) {
      HostSide found = HostSide.of(node, net.pod(), List.of(POD_V4));

      assertThat(found.interfaces()).containsExactly("eth0");
      assertThat(found.problems())
          .singleElement()
          .asString()
          .startsWith("interface mac1 (macvlan) has no end on the node");
    }
  }

  @Test
  void aPortOfABridgeIsTold() {
    TwoNamespaces.run("ip", "-n", name(net.server()), "link", "add", "cni0", "type", "bridge");
    TwoNamespaces.run("ip", "-n", name(net.server()), "link", "set", "eth0", "master", "cni0");
    try (Routing node = Routing.open(net.server())) {
      HostSide found = HostSide.of(node, net.pod(), List.of(POD_V4));

      assertThat(found.interfaces()).isEmpty();
      assertThat(found.problems()).singleElement().asString().contains("a port of bridge cni0");
    }
  }

  private String rules() {
    return net.inPod("ip", "rule") + net.inPod("ip", "-6", "rule");
  }

  private static String name(NetworkNamespace namespace) {
    return namespace.path().getFileName().toString();
  }
}
