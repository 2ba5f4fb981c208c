package io.tailwater.agent.control.capture;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.apply.RuleBackend;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class PassPermitTest {
  private static CaptureConfig capture(
      CaptureConfig.Mode mode, CaptureConfig.Backend backend, boolean dns) {
    return new CaptureConfig(
        mode,
        backend,
        List.of(),
        dns,
        CaptureConfig.Udp.AUTO,
        false,
        CaptureConfig.OnFailure.AUTO,
        CaptureConfig.OnPolicyChange.END);
  }

  @Test
  void autoPermitsItInPodsByEitherIptables() {
    for (RuleBackend backend : List.of(RuleBackend.IPTABLES_NFT, RuleBackend.IPTABLES_LEGACY)) {
      PassPermit permit = PassPermit.automatic(CaptureConfig.DEFAULTS, Optional.of(backend));

      assertThat(permit.relayed()).isEmpty();
      assertThat(permit.asked()).isFalse();
    }
  }

  @Test
  void autoDoesNotPermitItOnTheNode() {
    CaptureConfig node = capture(CaptureConfig.Mode.NODE, CaptureConfig.Backend.AUTO, true);

    assertThat(PassPermit.automatic(node, Optional.of(RuleBackend.IPTABLES_NFT)).relayed())
        .hasValueSatisfying(why -> assertThat(why).contains("sysctls", "relay: kernel"));
  }

  @Test
  void autoDoesNotPermitItWithoutCapturedDns() {
    CaptureConfig deaf = capture(CaptureConfig.Mode.IN_POD, CaptureConfig.Backend.AUTO, false);

    assertThat(PassPermit.automatic(deaf, Optional.of(RuleBackend.IPTABLES_NFT)).relayed())
        .hasValueSatisfying(why -> assertThat(why).contains("capture.dns"));
  }

  @Test
  void autoDoesNotPermitItByNftWhetherFoundOrForced() {
    CaptureConfig forced = capture(CaptureConfig.Mode.IN_POD, CaptureConfig.Backend.NFT, true);

    assertThat(PassPermit.automatic(forced, Optional.empty()).relayed()).isPresent();
    assertThat(PassPermit.automatic(CaptureConfig.DEFAULTS, Optional.of(RuleBackend.NFT)).relayed())
        .isPresent();
    assertThat(PassPermit.automatic(CaptureConfig.DEFAULTS, Optional.empty()).relayed()).isEmpty();
  }
}
