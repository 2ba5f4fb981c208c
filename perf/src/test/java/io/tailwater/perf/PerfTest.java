package io.tailwater.perf;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.api.Test;

class PerfTest {
  private final StringWriter errors = new StringWriter();

  private int run(String... arguments) {
    return Perf.commandLine()
        .setErr(new PrintWriter(errors, true))
        .setOut(new PrintWriter(errors, true))
        .execute(arguments);
  }

  @Test
  void anUnknownContestantIsBadUsageAndTheKnownOnesAreNamed() {
    assertThat(run("--only", "direct,squid")).isEqualTo(2);
    assertThat(errors.toString()).contains("squid").contains("haproxy");
  }

  @Test
  void anUnknownPartIsBadUsageAndTheKnownOnesAreNamed() {
    assertThat(run("--parts", "connections,speed")).isEqualTo(2);
    assertThat(errors.toString()).contains("speed").contains("bulk");
  }

  @Test
  void roundsHaveToBeACount() {
    assertThat(run("--rounds", "0")).isEqualTo(2);
    assertThat(run("--rounds", "many")).isEqualTo(2);
  }

  @Test
  void helpHasAnExample() {
    assertThat(run("--help")).isZero();
    assertThat(errors.toString()).contains("Example: ./tailwater perf").contains("--quick");
  }

  @Test
  void aLongRunNeedsATimeAndAgentsOfOurs() {
    assertThat(run("long", "--minutes", "0")).isEqualTo(2);
    assertThat(run("long", "--grades", "kernel,envoy")).isEqualTo(2);
    assertThat(errors.toString()).contains("--minutes: 0").contains("[envoy]");
  }
}
