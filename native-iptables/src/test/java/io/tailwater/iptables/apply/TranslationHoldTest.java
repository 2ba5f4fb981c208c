package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.iptables.TwoNamespaces;
import io.tailwater.lab.NeedsRoot;
import org.junit.jupiter.api.Test;

@NeedsRoot
class TranslationHoldTest {
  @Test
  void nobodyElseTakesItAwayAndItGoesWithItsOwner() {
    try (TwoNamespaces net = new TwoNamespaces()) {
      try (TranslationHold _ = TranslationHold.open(net.pod());
          TranslationHold _ = TranslationHold.open(net.pod())) {
        net.inPod("nft", "flush", "ruleset");

        String held = net.inPod("nft", "list", "ruleset");
        assertThat(held).containsSubsequence("table inet tailwater-hold-", "type nat hook output");
        assertThat(held.split("table inet", -1)).hasSize(3);
        String name = held.lines().findFirst().orElseThrow().split(" ")[2];
        assertThatThrownBy(() -> net.inPod("nft", "delete", "table", "inet", name))
            .hasMessageContaining("not permitted");
      }
      assertThat(net.inPod("nft", "list", "ruleset")).isBlank();
    }
  }
}
