package io.tailwater.lab.demo;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.lab.LabException;
import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/// What the demo's expectations rest on, without an agent: the sites verify, the decoy does not.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl"})
class ScenarioTest {
  private static final Path EXAMPLES = Path.of("..", "examples");

  @Test
  void withoutAnAgentEveryNameEndsAtTheDecoyAndOnlyTheRightAddressVerifies() {
    try (Scenario scenario = Scenario.build(EXAMPLES)) {
      Result decoy = scenario.curl(scenario.ratings(), "https://en.wikipedia.org/");
      Result right =
          scenario.curl(
              scenario.ratings(),
              "https://en.wikipedia.org/",
              "--resolve",
              "en.wikipedia.org:443:198.51.100.10");

      assertThat(decoy.exit())
          .as("curl's code for a certificate that does not verify")
          .isEqualTo(60);
      assertThat(right.orThrow()).contains("server=198.51.100.10").contains("200 198.51.100.10");
      assertThat(scenario.upstream("en.wikipedia.org").accessLog())
          .contains(scenario.ratings().v4());
    }
  }

  @Test
  void anAgentThatDoesNotComeUpIsReportedWithWhatItPrinted() {
    try (Scenario scenario = Scenario.build(EXAMPLES)) {
      assertThatThrownBy(() -> scenario.startAgent(List.of("sh", "-c", "echo no such pod; exit 3")))
          .isInstanceOf(LabException.class)
          .hasMessageContaining("ended with 3")
          .hasMessageContaining("no such pod");
    }
  }
}
