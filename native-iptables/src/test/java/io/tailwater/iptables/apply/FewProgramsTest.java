package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.iptables.rule.Mark;
import io.tailwater.lab.NeedsRoot;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// A new pod costs few programs: most of the time that a node's pods take to be captured is theirs.
@NeedsRoot(commands = {"iptables", "ip6tables", "nft", "unshare"})
class FewProgramsTest {
  private static final CapturePlan ONE = CapturePlan.egress().withAgent(new Mark(0x1a2b3c4d, -1));
  private static final CapturePlan TWO = CapturePlan.egress().withAgent(new Mark(0x5e6f7081, -1));

  private final List<String> ran = new ArrayList<>();
  private final CommandRunner counting =
      (inside, command, input, environment) -> {
        ran.add(String.join(" ", command));
        return new Processes().run(inside, command, input, environment);
      };
  private NetworkNamespace pod;
  private NetworkNamespace other;

  @BeforeAll
  static void warm() {
    NetworkNamespace.warmUp();
  }

  @BeforeEach
  void build() {
    pod = NetworkNamespace.fresh();
    other = NetworkNamespace.fresh();
  }

  @AfterEach
  void tearDown() {
    pod.close();
    other.close();
  }

  private TrafficRules rules(RuleBackend backend) {
    return new TrafficRules(RulePrograms.detect(Optional.of(backend), new Processes()), counting);
  }

  @ParameterizedTest
  @CsvSource({"IPTABLES_NFT, ''", "IPTABLES_LEGACY, ' --wait=10'"})
  void rulesOfANewPodAreWrittenAndReadBackOnceForEachFamily(RuleBackend backend, String how) {
    rules(backend).install(pod, ONE);

    assertThat(ran)
        .containsExactly(
            backend + "-restore --noflush" + how,
            backend + "-save",
            ("ip6tables" + backend).replace("iptables", "") + "-restore --noflush" + how,
            ("ip6tables" + backend).replace("iptables", "") + "-save");
  }

  @Test
  void nftIsAskedOnceHowItTellsRulesThatDifferByThePodsMarkAlone() {
    TrafficRules rules = rules(RuleBackend.NFT);
    rules.install(pod, ONE);
    assertThat(ran).filteredOn(line -> line.startsWith("unshare")).hasSize(1);
    ran.clear();

    rules.install(other, TWO);

    assertThat(ran).containsExactly("nft -f -", "nft -n -j list table inet tailwater");
    assertThat(rules.verify(other, TWO)).isEqualTo(new Drift.None());
    assertThat(rules.verify(pod, ONE)).isEqualTo(new Drift.None());
    assertThat(ran).noneMatch(line -> line.startsWith("unshare"));
  }

  @Test
  void rulesWithAnotherPodsMarkAreNotTakenForItsOwn() {
    TrafficRules rules = rules(RuleBackend.NFT);
    rules.install(pod, ONE);
    rules.install(other, TWO);

    assertThat(rules.verify(pod, TWO)).isInstanceOf(Drift.Changed.class);
    assertThat(rules.verify(other, ONE)).isInstanceOf(Drift.Changed.class);
  }

  /// One mark of two is the other's: exchanged they are not the same rules.
  @Test
  void marksThatHaveChangedPlacesAreADifference() {
    TrafficRules rules = rules(RuleBackend.NFT);
    CapturePlan forth =
        ONE.withStrictness(ONE.strictness().withClosed(true).withFormer(List.of(TWO.agent())));
    CapturePlan back =
        TWO.withStrictness(TWO.strictness().withClosed(true).withFormer(List.of(ONE.agent())));
    rules.install(pod, forth);
    rules.install(other, back);

    assertThat(rules.verify(pod, forth)).isEqualTo(new Drift.None());
    assertThat(rules.verify(pod, back)).isInstanceOf(Drift.Changed.class);
    assertThat(rules.verify(other, forth)).isInstanceOf(Drift.Changed.class);
  }
}
