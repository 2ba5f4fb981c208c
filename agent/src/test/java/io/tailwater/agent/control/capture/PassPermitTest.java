package io.tailwater.agent.control.capture;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.apply.RuleBackend;
import java.util.List;
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
      PassPermit permit = PassPermit.automatic(CaptureConfig.DEFAULTS).keptBy(backend);

      assertThat(permit.relayed()).isEmpty();
      assertThat(permit.asked()).isFalse();
    }
  }

  @Test
  void autoDoesNotPermitItOnTheNode() {
    CaptureConfig node = capture(CaptureConfig.Mode.NODE, CaptureConfig.Backend.AUTO, true);

    assertThat(PassPermit.automatic(node).keptBy(RuleBackend.IPTABLES_NFT).relayed())
        .hasValueSatisfying(why -> assertThat(why).contains("sysctls", "relay: kernel"));
  }

  @Test
  void autoDoesNotPermitItWithoutCapturedDns() {
    CaptureConfig deaf = capture(CaptureConfig.Mode.IN_POD, CaptureConfig.Backend.AUTO, false);

    assertThat(PassPermit.automatic(deaf).keptBy(RuleBackend.IPTABLES_NFT).relayed())
        .hasValueSatisfying(why -> assertThat(why).contains("capture.dns"));
  }

  @Test
  void whatIsAskedForByNameIsTriedWithNftToo() {
    assertThat(PassPermit.ASKED.keptBy(RuleBackend.NFT).relayed()).isEmpty();
  }

  @Test
  void autoDoesNotPermitItByNftWhetherFoundOrForced() {
    CaptureConfig forced = capture(CaptureConfig.Mode.IN_POD, CaptureConfig.Backend.NFT, true);

    assertThat(PassPermit.automatic(forced).relayed()).isPresent();
    assertThat(PassPermit.automatic(CaptureConfig.DEFAULTS).keptBy(RuleBackend.NFT).relayed())
        .isPresent();
    assertThat(PassPermit.automatic(CaptureConfig.DEFAULTS).relayed()).isEmpty();
  }
}
