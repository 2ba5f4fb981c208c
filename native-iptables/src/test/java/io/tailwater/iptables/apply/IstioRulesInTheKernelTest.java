package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.rule.IpFamily;
import io.tailwater.iptables.rule.IstioPlan;
import io.tailwater.iptables.rule.IstioRules;
import io.tailwater.lab.NeedsRoot;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// The programs take istio-cni's rules as we write them, each in a namespace that ends with it.
@NeedsRoot
class IstioRulesInTheKernelTest {
  private static final IstioPlan ALL =
      IstioPlan.DEFAULT.withVirtualInterfaces(List.of("eth1", "tap-0"));
  private static final String SETS =
      "ipset create istio-inpod-probes-v4 hash:ip && "
          + "ipset create istio-inpod-probes-v6 hash:ip family inet6 && exec ";
  private static final String NFT_SETS =
      """
      add table inet istio-ambient-nat
      add set inet istio-ambient-nat istio-inpod-probes-v4 { type ipv4_addr ; }
      add set inet istio-ambient-nat istio-inpod-probes-v6 { type ipv6_addr ; }
      """;

  @ParameterizedTest
  @ValueSource(strings = {"nft", "legacy"})
  void iptablesTakesThem(String kind) {
    for (IpFamily family : IpFamily.values()) {
      String restore =
          (family == IpFamily.V4 ? "iptables-" : "ip6tables-") + kind + "-restore --noflush";
      accepted(restore, IstioRules.restoreScript(ALL, family));
      accepted(SETS + restore, IstioRules.hostRestoreScript(ALL, family));
    }
  }

  @Test
  void nftTakesThem() {
    accepted("nft -f -", IstioRules.nftScript(ALL));
    accepted("nft -f -", NFT_SETS + IstioRules.hostNftScript(ALL, 1000));
  }

  private static void accepted(String command, String script) {
    assertThat(script).isNotBlank();
    CommandRunner.Result result =
        new Processes().run(List.of("unshare", "--net", "--", "sh", "-c", command), script);
    assertThat(result.error()).isEmpty();
    assertThat(result.exit()).isZero();
  }
}
