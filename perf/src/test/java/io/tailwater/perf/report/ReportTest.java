package io.tailwater.perf.report;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import io.tailwater.perf.bench.Measure;
import io.tailwater.perf.bench.Plan;
import io.tailwater.perf.bench.Sample;
import io.tailwater.perf.measure.Quartiles;
import io.tailwater.perf.peer.Contestant;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.OptionalInt;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ReportTest {
  private static final Machine MACHINE =
      new Machine("CPU X", 2, 8000, "Linux 6", "25", "abc", 0.1, Instant.EPOCH);
  private static final List<Contestant> CONTESTANTS =
      List.of(
          Contestant.direct(),
          new Contestant(
              "envoy", "envoy 1.40.0", Contestant.Way.PROXY, OptionalInt.of(1), List.of("envoy")));
  private static final List<Sample> SAMPLES =
      List.of(
          new Sample(1, "direct", Measure.REQUESTS, 100_000),
          new Sample(2, "direct", Measure.REQUESTS, 50_000),
          new Sample(3, "direct", Measure.REQUESTS, 80_000),
          new Sample(1, "envoy", Measure.REQUESTS, 50_000),
          new Sample(2, "envoy", Measure.REQUESTS, 25_000),
          new Sample(3, "envoy", Measure.REQUESTS, 20_000),
          new Sample(1, "direct", Measure.UP_CPU, 0),
          new Sample(1, "envoy", Measure.UP_CPU, 0.67),
          new Sample(1, "envoy", Measure.IDLE_PSS, 62.4));

  private static Report report() {
    return new Report(MACHINE, Plan.quick(), CONTESTANTS, SAMPLES);
  }

  @Test
  void ratiosAreTakenWithinARound() {
    Summary summary = new Summary(SAMPLES);

    assertThat(summary.ratio("envoy", "direct", Measure.REQUESTS))
        .contains(new Quartiles(0.375, 0.5, 0.5));
    assertThat(summary.value("direct", Measure.REQUESTS).orElseThrow().median()).isEqualTo(80_000);
  }

  @Test
  void aRatioToNothingIsNoRatio() {
    Summary summary = new Summary(SAMPLES);

    assertThat(summary.ratio("envoy", "direct", Measure.UP_CPU)).isEmpty();
    assertThat(summary.ratio("envoy", "direct", Measure.IDLE_PSS)).isEmpty();
    assertThat(summary.value("nginx", Measure.REQUESTS)).isEmpty();
  }

  @Test
  void tableNamesMachineVersionsAndMedians() {
    assertThat(report().markdown())
        .contains("2 cores of CPU X, 8 GB, Linux 6, Java 25, commit abc")
        .contains("direct, envoy 1.40.0.")
        .contains("| | direct | envoy |\n|---|---:|---:|\n")
        .contains("| requests/s, kept connections | 80,000 | 25,000 |")
        .contains("| memory idle, PSS MB | - | 62.4 |")
        .contains("| requests/s, kept connections | 1.00 (1.00..1.00) | 0.50 (0.38..0.50) |")
        .doesNotContain("down");
  }

  @Test
  void aTargetIsMetMissedOrWithinNoise() {
    Target atLeast = new Target("splice", Measure.REQUESTS, "nginx", false, true, 1);
    Target atMost = new Target("splice", Measure.REQUEST_P99, "nginx", false, false, 1);

    assertThat(atLeast.verdict(new Quartiles(1.0, 1.1, 1.2))).hasToString("met");
    assertThat(atLeast.verdict(new Quartiles(0.9, 1.1, 1.2))).hasToString("within noise");
    assertThat(atLeast.verdict(new Quartiles(0.7, 0.8, 0.99))).hasToString("missed");
    assertThat(atMost.verdict(new Quartiles(0.7, 0.8, 0.99))).hasToString("met");
    assertThat(atMost.verdict(new Quartiles(1.01, 1.1, 1.2))).hasToString("missed");
  }

  @Test
  void whatIsNeededOnTopOfTheDirectConnectionIsComparedRoundByRound() {
    Summary summary =
        new Summary(
            List.of(
                new Sample(1, "direct", Measure.UP_MACHINE, 0.5),
                new Sample(1, "envoy", Measure.UP_MACHINE, 1.5),
                new Sample(1, "splice", Measure.UP_MACHINE, 1.0),
                new Sample(2, "envoy", Measure.UP_MACHINE, 1.5),
                new Sample(2, "splice", Measure.UP_MACHINE, 9.0)));

    assertThat(summary.ratioBeyond("splice", "envoy", "direct", Measure.UP_MACHINE))
        .contains(new Quartiles(0.5, 0.5, 0.5));
  }

  @Test
  void theTableOfTargetsNamesWhatWasMeasuredAndHowFewRoundsThereWere() {
    List<Sample> samples =
        List.of(
            new Sample(1, "nginx", Measure.REQUESTS, 50_000),
            new Sample(1, "splice", Measure.REQUESTS, 60_000),
            new Sample(1, "splice", Measure.IDLE_PSS, 90));

    assertThat(new Report(MACHINE, Plan.quick(), CONTESTANTS, samples).markdown())
        .contains("With 3 rounds this is a first look: a verdict takes 9.")
        .contains(
            "| splice | requests/s, kept connections | ≥ 1.00 x nginx | 1.20 (1.20..1.20) | met |")
        .contains("| splice | memory idle, PSS MB | ≤ 80.00 | 90.00 (90.00..90.00) | missed |")
        .doesNotContain("| kernel |");
  }

  @Test
  void rawDataHoldEverySample(@TempDir Path folder) throws Exception {
    report().write(folder);

    int values = 0;
    double sum = 0;
    try (JsonParser json = new JsonFactory().createParser(folder.resolve("perf.json").toFile())) {
      while (json.nextToken() != null) {
        if (json.currentToken() == JsonToken.VALUE_NUMBER_FLOAT
            && "value".equals(json.currentName())) {
          values++;
          sum += json.getDoubleValue();
        }
      }
    }
    assertThat(values).isEqualTo(SAMPLES.size());
    assertThat(sum).isEqualTo(SAMPLES.stream().mapToDouble(Sample::value).sum());
  }

  @Test
  void pictureIsDrawnWithBars(@TempDir Path folder) throws Exception {
    report().write(folder);

    var image = ImageIO.read(folder.resolve("perf.png").toFile());
    long coloured = 0;
    for (int x = 0; x < image.getWidth(); x++) {
      for (int y = 0; y < image.getHeight(); y++) {
        coloured += (image.getRGB(x, y) & 0xffffff) == 0xe08a3c ? 1 : 0;
      }
    }
    assertThat(coloured).as("pixels in Envoy's colour").isGreaterThan(1000);
    assertThat(Files.size(folder.resolve("perf.md"))).isPositive();
  }
}
