package io.tailwater.perf.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.perf.peer.BenchException;
import io.tailwater.perf.peer.Entrants;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

class RealTlsTest {
  private static final Entrants NOBODY = new Entrants(Path.of("unused"), List.of(), Map.of());

  private static final String WRK =
      """
      Running 2s test @ https://web.bench.test/
        Latency Distribution
           50%    0.87ms
           99%    1.54ms
        71234 requests in 2.00s, 9.10MB read
      Requests/sec:  35617.05
      Transfer/sec:      4.55MB
      """;

  @Test
  void whatWrkSaysIsRead() {
    assertThat(RealTls.requests(WRK)).isEqualTo(35617.05);
    assertThat(RealTls.micros(WRK)).isEqualTo(1540, within(1e-6));
    assertThat(RealTls.gigabits("Transfer/sec:      1.50GB"))
        .isEqualTo(1.5 * (1L << 30) * 8 / 1e9, within(1e-9));
  }

  @Test
  void noAnswerIsAnError() {
    assertThatThrownBy(() -> RealTls.requests("Requests/sec:   0.00"))
        .isInstanceOf(BenchException.class);
    assertThatThrownBy(() -> RealTls.micros("nothing")).isInstanceOf(BenchException.class);
  }

  @Test
  @Tag("long")
  @NeedsRoot(commands = {"nginx", "haproxy", "dnsmasq", "wrk", "h2load", "iperf3", "openssl"})
  @Timeout(300)
  void realTlsGoesThroughEveryContestant() {
    List<String> names = List.of("direct", "nginx", "haproxy");
    Plan tiny = new Plan(1, 100, 5_000_000, 4, 20, 50, 100, 100);
    List<Sample> samples;
    try (Bench bench = new Bench(tiny, EnumSet.allOf(Part.class), names, NOBODY, line -> {})) {
      assertThat(bench.run()).isNotEmpty();
      samples = bench.realTls(1);
    }

    for (String name : names) {
      assertThat(samples)
          .filteredOn(sample -> sample.contestant().equals(name))
          .extracting(Sample::measure)
          .contains(Measure.WRK_REQUESTS, Measure.H2LOAD_REQUESTS, Measure.WRK_CONNECTIONS);
    }
    assertThat(samples).allSatisfy(sample -> assertThat(sample.value()).isPositive());
  }
}
