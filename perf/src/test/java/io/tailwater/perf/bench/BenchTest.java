package io.tailwater.perf.bench;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.perf.peer.Entrants;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// One real round with counts that are tiny: do numbers come out, and are they sane.
@NeedsRoot(commands = {"nginx", "dnsmasq", "setpriv"})
class BenchTest {
  private static final Entrants NOBODY = new Entrants(Path.of("unused"), List.of(), Map.of());

  private static final Plan TINY = new Plan(1, 150, 20_000_000, 4, 50, 100, 100, 300);

  @Test
  @Timeout(60)
  void directAndNginxAreMeasuredInOneRun() {
    List<String> progress = new ArrayList<>();
    List<Sample> samples;
    try (Bench bench =
        new Bench(
            TINY, EnumSet.allOf(Part.class), List.of("direct", "nginx"), NOBODY, progress::add)) {
      samples = bench.run();
    }

    assertThat(samples).allSatisfy(sample -> assertThat(sample.value()).isFinite());
    for (String name : List.of("direct", "nginx")) {
      for (Measure measure :
          List.of(Measure.REQUESTS, Measure.CONNECTIONS, Measure.UP, Measure.DOWN)) {
        assertThat(value(samples, name, measure)).as(name + " " + measure).isPositive();
      }
      assertThat(value(samples, name, Measure.REQUEST_P99))
          .isGreaterThanOrEqualTo(value(samples, name, Measure.REQUEST_P50));
    }
    assertThat(value(samples, "nginx", Measure.IDLE_PSS)).isBetween(1.0, 100.0);
    assertThat(value(samples, "nginx", Measure.REQUEST_CPU))
        .isLessThanOrEqualTo(value(samples, "nginx", Measure.REQUEST_MACHINE) + 0.5);
    assertThat(progress).anyMatch(line -> line.contains("round 1 nginx"));
  }

  @Test
  @Timeout(60)
  void whatIsNotAskedForIsNotMeasured() {
    List<Sample> samples;
    try (Bench bench =
        new Bench(TINY, EnumSet.of(Part.CONNECTIONS), List.of("direct"), NOBODY, line -> {})) {
      samples = bench.run();
    }

    assertThat(samples)
        .extracting(Sample::measure)
        .contains(Measure.CONNECTIONS)
        .doesNotContain(Measure.REQUESTS, Measure.UP, Measure.DOWN, Measure.IDLE_PSS);
  }

  @Test
  @Timeout(60)
  void whoHasJustStartedIsMeasuredAloneAndDirectIsNot() {
    List<String> progress = new ArrayList<>();
    List<Sample> samples;
    try (Bench bench =
        new Bench(
            TINY, EnumSet.of(Part.START), List.of("direct", "nginx"), NOBODY, progress::add)) {
      samples = bench.run();
    }

    assertThat(samples)
        .extracting(Sample::measure)
        .containsExactly(Measure.FIRST_CONNECTIONS, Measure.FIRST_CPU);
    assertThat(samples).extracting(Sample::contestant).containsOnly("nginx");
    assertThat(value(samples, "nginx", Measure.FIRST_CONNECTIONS)).isPositive();
    assertThat(progress).anyMatch(line -> line.contains("round 1 nginx"));
  }

  private static double value(List<Sample> samples, String name, Measure measure) {
    return samples.stream()
        .filter(sample -> sample.contestant().equals(name) && sample.measure() == measure)
        .mapToDouble(Sample::value)
        .findFirst()
        .orElseThrow();
  }
}
