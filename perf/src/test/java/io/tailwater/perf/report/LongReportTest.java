package io.tailwater.perf.report;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.perf.bench.Lap;
import io.tailwater.perf.measure.Footprint;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LongReportTest {
  private final LongReport report =
      new LongReport(new Machine("CPU", 2, 24_000, "Linux", "25", "abc", 0.1, Instant.EPOCH));

  private void laps(int count, long pssPerLap, long descriptorsPerLap) {
    for (int i = 0; i < count; i++) {
      report.add(
          new Lap(
              "kernel",
              i,
              100,
              1000,
              200,
              2000,
              300,
              new Footprint(80_000 + i * pssPerLap, 95 + i * descriptorsPerLap, 30)));
    }
  }

  @Test
  void whatStaysAsItIsHasNotGrown() {
    laps(40, 0, 0);

    assertThat(report.grown()).isEmpty();
  }

  @Test
  void memoryThatGrowsTurnByTurnIsNamed() {
    laps(40, 300, 0);

    assertThat(report.grown())
        .singleElement()
        .asString()
        .contains("kernel", "memory went from 84.4 to 90.4 MB");
  }

  @Test
  void descriptorsThatAreLostTurnByTurnAreNamed() {
    laps(40, 0, 1);

    assertThat(report.grown())
        .singleElement()
        .asString()
        .contains("kernel", "descriptors went from 110 to 130");
  }

  @Test
  void ofAFewTurnsNothingCanBeSaid() {
    laps(7, 10_000, 100);

    assertThat(report.grown()).isEmpty();
  }

  @Test
  void theTableHasTenTurnsTheFirstAndTheLastIncluded(@TempDir Path folder) throws Exception {
    laps(101, 0, 0);

    report.write(folder);

    String table = Files.readString(folder.resolve("long.md"));
    assertThat(table).contains("101 turns, 10,100 connections, 20,200 requests");
    assertThat(table.lines().filter(line -> line.startsWith("| ") && line.contains("80.0")))
        .hasSize(10)
        .first()
        .asString()
        .startsWith("| 0 |");
    assertThat(table).contains("| 100 | 1,000 | 2,000 | 300 | 80.0 | 95 | 30 |");
    assertThat(folder.resolve("long.png")).isNotEmptyFile();
  }
}
