package io.tailwater.iptables.rule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/// The rules of the node's namespace, as text; what the kernel makes of them is in
/// `NodeCaptureTest`.
class NodeRulesTest {
  private static final Path FOLDER = Path.of("src/test/resources/goldens-node");

  private static final CapturePlan CLOSED =
      CapturePlan.egress()
          .withEarlier(EarlierConnections.CUT)
          .withUdp(UdpPolicy.QUIC)
          .withStrictness(
              Strictness.NONE.withClosed(true).withKnownProtocolsOnly(true).withLog(133));

  private static final CapturePlan OPEN =
      CapturePlan.egress().withDns(CapturePlan.DNS_PORT).withFailsOpen(true);

  private static final NodePlan.Pod A =
      pod("veth1", CLOSED.withDns(CapturePlan.DNS_PORT), "10.244.0.2", "fd00:10:244::2");
  private static final NodePlan.Pod B =
      pod("veth2", CapturePlan.egress(), "10.244.0.3", "fd00:10:244::3");

  private static final Map<String, NodePlan> PLANS =
      Map.of(
          "two-pods",
          plan(A, B),
          "open-pod-and-strangers-fail-open",
          new NodePlan(
              List.of(A, pod("veth2", OPEN, "10.244.0.3", "fd00:10:244::3")),
              List.of("cali+"),
              true,
              Optional.of(133),
              Optional.of(100)),
          "strangers-refused",
          new NodePlan(List.of(A), List.of("cali+"), Optional.of(133)),
          "kernel-pass",
          plan(
              pod(
                  "veth1",
                  CLOSED.withKernelPass(KernelPass.STANDARD),
                  "10.244.0.2",
                  "fd00:10:244::2"),
              pod(
                  "veth2",
                  CapturePlan.egress().withKernelPass(KernelPass.STANDARD.withBypass(true)),
                  "10.244.0.3"),
              pod("veth3", CapturePlan.egress(), "10.244.0.4")),
          "ipv6-refused-udp-refused",
          plan(pod("veth1", CLOSED.withIpv6(Ipv6.REFUSE).withUdp(UdpPolicy.ALL), "10.0.0.2")));

  @TestFactory
  Stream<DynamicTest> scriptsAreAsRecorded() {
    return PLANS.entrySet().stream()
        .flatMap(plan ->
            Stream.of("v4.rules", "v6.rules", "nft")
                .map(kind -> plan.getKey() + "." + kind)
                .map(name ->
                    DynamicTest.dynamicTest(
                        name, () -> check(name, script(plan.getValue(), name)))));
  }

  private static String script(NodePlan plan, String name) {
    if (name.endsWith(".nft")) {
      return NftScript.fresh(NamespaceRules.of(plan)).text();
    }
    IpFamily family = name.endsWith(".v4.rules") ? IpFamily.V4 : IpFamily.V6;
    return RestoreScript.fresh(NodeRules.of(plan, family)).text();
  }

  private static void check(String name, String text) throws IOException {
    Path golden = FOLDER.resolve(name);
    if (Boolean.getBoolean("goldens.update")) {
      Files.createDirectories(FOLDER);
      Files.writeString(golden, text);
    }
    assertThat(golden).content().isEqualTo(text);
  }

  @Test
  void aPodThatComesChangesItsOwnChainsAndTheTwoListsOnly() {
    RuleSet one = NodeRules.of(plan(A), IpFamily.V4);
    RuleSet two = NodeRules.of(plan(A, B), IpFamily.V4);

    String script = RestoreScript.install(two, saved(one)).text();

    assertThat(script.lines().filter(line -> line.startsWith(":")))
        .containsExactlyInAnyOrder(
            ":TAILWATER_PRERT - [0:0]",
            ":TAILWATER_PRERT - [0:0]",
            ":TAILWATER_FROM_veth2 - [0:0]",
            ":TAILWATER_POD_veth2 - [0:0]");
    assertThat(script).doesNotContain("*nat").doesNotContain("*filter").doesNotContain("_OUTPUT");
    assertThat(script).doesNotContain("-s 10.244.0.2");
  }

  @Test
  void aPodThatGoesTakesItsChainsAlong() {
    RuleSet one = NodeRules.of(plan(A), IpFamily.V6);
    RuleSet two = NodeRules.of(plan(A, B), IpFamily.V6);

    String script = RestoreScript.install(one, saved(two)).text();

    assertThat(script)
        .contains("-F TAILWATER_FROM_veth2\n-X TAILWATER_FROM_veth2\n")
        .contains("-F TAILWATER_POD_veth2\n-X TAILWATER_POD_veth2\n");
    assertThat(Drift.between(one, saved(two))).isInstanceOf(Drift.Changed.class);
    assertThat(Drift.between(two, saved(two))).isInstanceOf(Drift.None.class);
  }

  @Test
  void nothingIsLeftWithoutPods() {
    NodePlan nobody = plan();

    assertThat(NodeRules.of(nobody, IpFamily.V4).isEmpty()).isTrue();
    assertThat(NodeRules.of(plan(A), IpFamily.V6).isEmpty()).isFalse();
    NodePlan.Pod four = pod("veth1", CLOSED.withIpv6(Ipv6.UNTOUCHED), "10.0.0.2");
    assertThat(NodeRules.of(plan(four), IpFamily.V6).isEmpty()).isTrue();
  }

  @Test
  void interfacesWithNamesThatAreNoneForChainsHaveChainsToo() {
    NodePlan plan = plan(pod("lxc_A.1", CLOSED, "10.0.0.2"), pod("lxc_a.1", CLOSED, "10.0.0.3"));

    List<String> names =
        NodeRules.of(plan, IpFamily.V4).chains(Table.MANGLE).stream().map(Chain::name).toList();

    assertThat(names).doesNotHaveDuplicates();
    assertThat(names).filteredOn(name -> name.startsWith("TAILWATER_POD_0-")).hasSize(2);
  }

  @Test
  void aPodMaySendFiveTimesTheQuestionsThatItIsAnsweredButNeverLessThanGetAnAnswer() {
    assertThat(questionsAt(100)).containsExactly("500/sec --limit-burst 500");
    assertThat(questionsAt(1)).containsExactly("5/sec --limit-burst 5");
    // What iptables can keep: 35 is not among it.
    assertThat(questionsAt(7)).containsExactly("40/sec --limit-burst 40");
    assertThat(questionsAt(4000)).containsExactly("10000/sec --limit-burst 10000");
    assertThat(questionsAt(5000)).containsExactly("10000/sec --limit-burst 10000");
    assertThat(questionsAt(5001)).isEmpty();
    assertThat(questionsAt(Integer.MAX_VALUE)).isEmpty();
  }

  /// The limit of pod A's chain; of B, whose DNS is not captured, there is none.
  private static List<String> questionsAt(int answered) {
    NodePlan plan =
        new NodePlan(List.of(A, B), List.of(), false, Optional.empty(), Optional.of(answered));
    return NodeRules.of(plan, IpFamily.V4).chains(Table.MANGLE).stream()
        .filter(chain -> chain.name().startsWith("TAILWATER_DNS_"))
        .peek(chain -> assertThat(chain.name()).isEqualTo("TAILWATER_DNS_veth1"))
        .map(chain -> chain.rules().getFirst().text())
        .map(rule -> rule.replace("-m limit --limit ", "").replace(" -j RETURN", ""))
        .toList();
  }

  @Test
  void anInterfaceWithTheLongestNameHasChainsToo() {
    NodePlan plan = plan(pod("cali0123456789a", CLOSED, "10.0.0.2"));

    List<String> names =
        NodeRules.of(plan, IpFamily.V4).chains(Table.RAW).stream().map(Chain::name).toList();

    assertThat(names).filteredOn(name -> name.startsWith("TAILWATER_FROM_0-")).hasSize(1);
  }

  @Test
  void anInterfaceBelongsToOnePod() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> plan(A, A))
        .withMessageContaining("veth1");
    assertThatIllegalArgumentException().isThrownBy(() -> pod("veth+", CLOSED, "10.0.0.2"));
    assertThatIllegalArgumentException().isThrownBy(() -> pod("a b", CLOSED, "10.0.0.2"));
  }

  @Test
  void theRoutingMarkHasNoBitOfTheAgentsOwnMarks() {
    assertThat(NodePlan.LOCAL.mask() & NodePlan.UPSTREAM.value()).isZero();
    assertThat(NodePlan.LOCAL.mask() & NodePlan.ACCEPTED.value()).isZero();
    assertThat(NodePlan.REFUSED.mask() & NodePlan.UPSTREAM.value()).isZero();
    assertThat(NodePlan.REFUSED.mask() & NodePlan.ACCEPTED.value()).isZero();
    assertThat(NodePlan.ACCEPTED).isNotEqualTo(NodePlan.UPSTREAM);
  }

  @Test
  void whileNoAgentLivesOnlyWhatItHasTakenIsHeldOfAPodThatFailsOpen() {
    RuleSet rules =
        NodeRules.of(plan(A, pod("veth2", OPEN, "10.244.0.3", "fd00:10:244::3")), IpFamily.V4);
    String leave = "-m set ! --match-set tailwater-alive-v4 dst -j RETURN";

    assertThat(rules.sets()).containsExactly(AddressSet.alive(IpFamily.V4));
    assertThat(text(rules, Table.RAW, "TAILWATER_FROM_veth2").indexOf(leave))
        .as("after the zone of connections that the agent still has")
        .isEqualTo(1);
    assertThat(text(rules, Table.MANGLE, "TAILWATER_POD_veth2").indexOf(leave)).isEqualTo(3);
    assertThat(text(rules, Table.RAW, "TAILWATER_FROM_veth1")).doesNotContain(leave);
    assertThat(text(rules, Table.MANGLE, "TAILWATER_POD_veth1")).doesNotContain(leave);
    assertThat(NodeRules.of(plan(A), IpFamily.V4).sets()).isEmpty();
  }

  private static List<String> text(RuleSet rules, Table table, String chain) {
    return rules.chains(table).stream()
        .filter(one -> one.name().equals(chain))
        .flatMap(one -> one.rules().stream())
        .map(Rule::text)
        .toList();
  }

  private static NodePlan plan(NodePlan.Pod... pods) {
    return new NodePlan(List.of(pods), List.of(), Optional.empty());
  }

  private static NodePlan.Pod pod(String name, CapturePlan plan, String... addresses) {
    return new NodePlan.Pod(
        List.of(name), Stream.of(addresses).map(InetAddress::ofLiteral).toList(), plan);
  }

  /// What iptables-save would print of these rules.
  private static SavedRules saved(RuleSet rules) {
    List<String> lines = new ArrayList<>();
    rules
        .tables()
        .forEach((table, chains) -> {
          lines.add("*" + table);
          chains.stream()
              .filter(chain -> chain.isHooked())
              .forEach(chain -> lines.add(":" + chain.hook() + " ACCEPT [0:0]"));
          chains.forEach(chain -> lines.add(":" + chain.name() + " - [0:0]"));
          for (Chain chain : chains) {
            if (chain.isHooked()) {
              lines.add("-A " + chain.hook() + " " + chain.jump());
            }
            chain.rules().forEach(rule -> lines.add("-A " + chain.name() + " " + rule.text()));
          }
          lines.add("COMMIT");
        });
    return SavedRules.parse(String.join("\n", lines) + "\n");
  }
}
