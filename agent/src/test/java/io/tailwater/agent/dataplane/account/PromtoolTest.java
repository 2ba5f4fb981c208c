package io.tailwater.agent.dataplane.account;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.Refusal;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

class PromtoolTest {

  @Test
  void promtoolFindsNothingToComplainAbout() throws Exception {
    needPromtool();
    Metrics metrics = new Metrics("0.1.0");
    metrics.gauge("tailwater_connections_open", "Connections that are open.", () -> 1);
    metrics.counters("tailwater_policy_reloads", "Reloads.", "result", () -> Map.of("ok", 1L));
    try (AccessLog log =
        new AccessLog(AccessLogConfig.Format.TEXT, new ByteArrayOutputStream(), 100)) {
      Accounts accounts = new Accounts(metrics, log, Samples.routes(EgressMode.ENFORCE));
      ConnectionRecord c = Samples.connected(1, "de.wikipedia.org");
      accounts.accepted(c);
      accounts.opened(c);
      accounts.ended(c, new Outcome.Refused(Refusal.CONNECT_FAILED, ""));
      accounts.ended(Samples.refused(2, "example.org"), Samples.closed());
    }

    Process promtool =
        new ProcessBuilder("promtool", "check", "metrics").redirectErrorStream(true).start();
    promtool.getOutputStream().write(metrics.page("").body().getBytes(StandardCharsets.UTF_8));
    promtool.getOutputStream().close();
    String said = new String(promtool.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

    assertThat(promtool.waitFor(30, TimeUnit.SECONDS)).isTrue();
    assertThat(said).isEmpty();
    assertThat(promtool.exitValue()).isZero();
  }

  private static void needPromtool() {
    boolean there =
        Stream.of(System.getenv().getOrDefault("PATH", "").split(":"))
            .anyMatch(dir -> Files.isExecutable(Path.of(dir, "promtool")));
    if (!there && "true".equals(System.getenv("CI"))) {
      fail("promtool is missing: apt-get install --no-install-recommends prometheus");
    }
    Assumptions.assumeTrue(there, "skipped: promtool is missing (package prometheus)");
  }
}
