package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.TwoNamespaces;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.EarlierConnections;
import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.Ipv6;
import io.tailwater.iptables.rule.KernelPass;
import io.tailwater.iptables.rule.Mark;
import io.tailwater.iptables.rule.NamespaceRules;
import io.tailwater.iptables.rule.NftScript;
import io.tailwater.iptables.rule.NodePlan;
import io.tailwater.iptables.rule.NodeRules;
import io.tailwater.iptables.rule.Strictness;
import io.tailwater.iptables.rule.UdpPolicy;
import io.tailwater.lab.NeedsRoot;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// Whatever is planned, every backend takes it, reads it back as it was meant, goes from any plan
/// to any other, and leaves nothing.
@NeedsRoot
class PlansInTheKernelTest {
  private static final CapturePlan CLOSED =
      CapturePlan.egress()
          .withAgent(new Mark(0x92345678, -1))
          .withDns(CapturePlan.DNS_PORT)
          .withInbound(CapturePlan.Inbound.STANDARD)
          .withEarlier(EarlierConnections.CUT)
          .withStrictness(
              Strictness.NONE
                  .withClosed(true)
                  .withKnownProtocolsOnly(true)
                  .withFormer(List.of(new Mark(0x12345678, -1)))
                  .withLog(133));

  private static final List<NamespaceRules> PLANS =
      Stream.concat(
              Stream.of(
                      CLOSED,
                      CLOSED.withUdp(UdpPolicy.ALL),
                      CLOSED.withUdp(UdpPolicy.QUIC).withIpv6(Ipv6.REFUSE),
                      CLOSED.withIpv6(Ipv6.UNTOUCHED),
                      CapturePlan.egress())
                  .map(NamespaceRules::of),
              Stream.of(
                  node(pod("veth1", CLOSED, "10.244.0.2", "fd00:10:244::2")),
                  // rates that do not divide as iptables needs it, the smallest and the greatest
                  node(1, pod("veth1", CLOSED, "10.244.0.2", "fd00:10:244::2")),
                  node(7, pod("veth1", CLOSED, "10.244.0.2", "fd00:10:244::2")),
                  node(1300, pod("veth1", CLOSED, "10.244.0.2", "fd00:10:244::2")),
                  node(5000, pod("veth1", CLOSED, "10.244.0.2", "fd00:10:244::2")),
                  node(
                      pod("veth1", CLOSED.withUdp(UdpPolicy.ALL), "10.244.0.2", "fd00:10:244::2"),
                      pod("veth2", CLOSED.withIpv6(Ipv6.REFUSE), "10.244.0.3")),
                  node(
                      pod("veth1", CLOSED, "10.244.0.2", "fd00:10:244::2"),
                      pod(
                          "veth2",
                          CapturePlan.egress().withDns(CapturePlan.DNS_PORT).withFailsOpen(true),
                          "10.244.0.3",
                          "fd00:10:244::3"))))
          .toList();

  private static final List<NamespaceRules> KERNEL_PASS =
      List.of(
          NamespaceRules.of(CLOSED.withKernelPass(KernelPass.STANDARD)),
          NamespaceRules.of(
              CapturePlan.egress()
                  .withAgent(new Mark(0x92345678, -1))
                  .withKernelPass(KernelPass.STANDARD.withBypass(true))),
          node(
              pod(
                  "veth1",
                  CLOSED.withKernelPass(KernelPass.STANDARD),
                  "10.244.0.2",
                  "fd00:10:244::2"),
              pod("veth2", CLOSED, "10.244.0.3")));

  @BeforeAll
  static void warm() {
    NetworkNamespace.warmUp();
  }

  @ParameterizedTest
  @EnumSource(RuleBackend.class)
  void everyPlanIsTakenReadBackAndReplaced(RuleBackend backend) {
    CommandRunner processes = new Processes();
    TrafficRules rules =
        new TrafficRules(RulePrograms.detect(Optional.of(backend), processes), processes);
    try (TwoNamespaces net = new TwoNamespaces();
        AliveSets alive = AliveSets.open(net.pod(), backend)) {
      ReleasableSet.inPod(net.pod(), backend).close();
      ReleasableSet.onNode(net.pod(), backend).close();
      List<NamespaceRules> plans = new ArrayList<>(PLANS);
      if (backend != RuleBackend.NFT) {
        plans.addAll(KERNEL_PASS); // this kernel has no queue for nft
      }
      for (NamespaceRules first : plans) {
        for (NamespaceRules second : List.of(first, PLANS.getFirst())) {
          alive.make(); // what fails open asks them
          rules.install(net.pod(), second);
          assertThat(rules.verify(net.pod(), second)).isEqualTo(new Drift.None());
          // Nothing is remembered here: an agent that has just started.
          assertThat(
                  new TrafficRules(rules.programs(), processes)
                      .install(net.pod(), second)
                      .families())
              .allSatisfy((family, outcome) ->
                  assertThat(outcome.state()).isEqualTo(InstallReport.State.UNCHANGED));
        }
      }
      rules.remove(net.pod());
      assertThat(net.inPod("nft", "list", "ruleset"))
          .doesNotContain("TAILWATER", "tailwater", "redirect", "reject");
      assertThat(net.inPod("iptables-legacy-save")).doesNotContain("-A ", "TAILWATER");
      assertThat(net.inPod("ip6tables-legacy-save")).doesNotContain("-A ", "TAILWATER");
    }
  }

  @Test
  void nftTouchesNoChainThatIsAsWanted() {
    CommandRunner processes = new Processes();
    TrafficRules rules =
        new TrafficRules(RulePrograms.detect(Optional.of(RuleBackend.NFT), processes), processes);
    NodePlan.Pod one = pod("veth1", CLOSED, "10.244.0.2", "fd00:10:244::2");
    NodePlan.Pod two = pod("veth2", CLOSED, "10.244.0.3", "fd00:10:244::3");
    try (TwoNamespaces net = new TwoNamespaces()) {
      rules.install(net.pod(), node(one));
      String pod = handles(net, "mangle-pod-veth1-ipv4");
      String list = handles(net, "mangle-prert-ipv4");

      rules.install(net.pod(), node(one, two));
      assertThat(handles(net, "mangle-pod-veth1-ipv4")).isEqualTo(pod);
      assertThat(handles(net, "mangle-prert-ipv4")).isNotEqualTo(list);

      net.inPod("nft", "flush", "chain", "inet", "tailwater", "mangle-here-ipv6");
      net.inPod("nft", "add", "chain", "inet", "tailwater", "somebody");
      net.inPod(
          "nft", "add", "rule", "inet", "tailwater", "mangle-pod-veth2-ipv4", "jump", "somebody");
      list = handles(net, "mangle-prert-ipv4");
      assertThat(rules.verify(net.pod(), node(one, two))).isInstanceOf(Drift.Changed.class);
      rules.install(net.pod(), node(one, two));
      assertThat(rules.verify(net.pod(), node(one, two))).isEqualTo(new Drift.None());
      assertThat(handles(net, "mangle-pod-veth1-ipv4")).isEqualTo(pod);
      assertThat(handles(net, "mangle-prert-ipv4")).isEqualTo(list);

      rules.install(net.pod(), node(one));
      assertThat(rules.verify(net.pod(), node(one))).isEqualTo(new Drift.None());
      assertThat(handles(net, "mangle-pod-veth1-ipv4")).isEqualTo(pod);
      assertThat(net.inPod("nft", "list", "table", "inet", "tailwater")).doesNotContain("veth2");
    }
  }

  /// The rules of a chain with the kernel's own numbers, which a rule keeps as long as it stands.
  private static String handles(TwoNamespaces net, String chain) {
    String listed = net.inPod("nft", "-a", "list", "chain", "inet", "tailwater", chain);
    assertThat(listed).contains("# handle ");
    return listed;
  }

  /// This kernel has no `queue` for nft: everything else of these plans is taken.
  @Test
  void whatNftTakesOfAKernelPass() {
    CommandRunner processes = new Processes();
    for (NamespaceRules rules : KERNEL_PASS) {
      String script = NftScript.fresh(rules).text();
      String without = script.replaceAll("queue (flags bypass )?to 1501", "drop");
      assertThat(without).isNotEqualTo(script);
      assertThat(
              processes.run(List.of("unshare", "--net", "--", "nft", "-f", "-"), without).error())
          .isEmpty();
    }
  }

  private static NamespaceRules node(NodePlan.Pod... pods) {
    return node(100, pods);
  }

  private static NamespaceRules node(int answered, NodePlan.Pod... pods) {
    NodePlan plan =
        new NodePlan(
            List.of(pods), List.of("cali+"), false, Optional.of(133), Optional.of(answered));
    return new NamespaceRules(NodeRules.of(plan, IpFamily.V4), NodeRules.of(plan, IpFamily.V6));
  }

  private static NodePlan.Pod pod(String name, CapturePlan plan, String... addresses) {
    return new NodePlan.Pod(
        List.of(name), Stream.of(addresses).map(InetAddress::ofLiteral).toList(), plan);
  }
}
