package io.tailwater.perf.measure;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MeasureTest {
  @Test
  void medianAndQuartilesInterpolate() {
    assertThat(Quartiles.of(List.of(4.0, 1.0, 3.0, 2.0))).isEqualTo(new Quartiles(1.75, 2.5, 3.25));
    assertThat(Quartiles.of(List.of(3.0, 1.0, 2.0))).isEqualTo(new Quartiles(1.5, 2, 2.5));
    assertThat(Quartiles.of(List.of(7.0))).isEqualTo(new Quartiles(7, 7, 7));
    assertThatThrownBy(() -> Quartiles.of(List.of())).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void percentilesCountFromTheSmallest() {
    Latencies latencies = new Latencies();
    for (int micros = 1; micros <= 100; micros++) {
      latencies.add(micros * 1000L);
    }

    assertThat(latencies.percentile(0.5)).isEqualTo(50);
    assertThat(latencies.percentile(0.99)).isEqualTo(99);
    assertThat(latencies.percentile(1)).isEqualTo(100);
    assertThat(latencies.count()).isEqualTo(100);
  }

  @Test
  void latenciesOutsideTheBucketsAreClamped() {
    Latencies latencies = new Latencies();
    latencies.add(-5);
    latencies.add(3_000_000_000L);

    assertThat(latencies.percentile(0.5)).isZero();
    assertThat(latencies.percentile(1)).isEqualTo(100_000);
    latencies.clear();
    assertThat(latencies.percentile(0.5)).isZero();
  }

  @Test
  void processTimeIsReadBehindANameWithBrackets() {
    String stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 150 75 0 0 20 0 4 0 100 1 1";

    assertThat(CpuTime.processSeconds(stat)).isEqualTo(2.25, within(1e-9));
  }

  @Test
  void machineTimeLeavesOutIdleWaitAndSteal() {
    String stat = "cpu  100 10 200 9999 8888 5 300 7777 0 0\ncpu0 1 1 1 1\n";

    assertThat(CpuTime.machineSeconds(stat)).isEqualTo(6.15, within(1e-9));
  }

  @Test
  void ownCpuTimeGrowsWithWork() {
    List<Long> self = List.of(ProcessHandle.current().pid());
    CpuTime before = CpuTime.now(self);
    double sum = 0;
    while (CpuTime.now(self).since(before).processes() < 0.05) {
      sum += Math.sqrt(sum + 1);
    }

    assertThat(sum).isPositive();
    assertThat(CpuTime.now(self).since(before).machine()).isPositive();
  }

  @Test
  void memoryIsReadFromTheRollup() {
    String rollup =
        """
        55d0-7fff ---p 00000000 00:00 0    [rollup]
        Rss:               23712 kB
        Pss:               17480 kB
        Pss_Dirty:          9000 kB
        """;

    assertThat(Memory.parse(rollup)).isEqualTo(new Memory(17_480, 23_712));
    assertThatThrownBy(() -> Memory.parse("Rss: 1 kB")).hasMessageContaining("Pss:");
    assertThat(Memory.of(List.of(ProcessHandle.current().pid())).rssKb()).isPositive();
  }

  @Test
  void aDescriptorThatIsOpenedIsCounted(@TempDir Path folder) throws Exception {
    List<Long> self = List.of(ProcessHandle.current().pid());
    Path file = Files.createFile(folder.resolve("open"));
    long before = Footprint.of(self).descriptors();
    List<InputStream> open = new ArrayList<>();
    for (int i = 0; i < 50; i++) {
      open.add(Files.newInputStream(file));
    }
    long during = Footprint.of(self).descriptors();
    for (InputStream one : open) {
      one.close();
    }

    assertThat(during - before).isBetween(45L, 55L);
    assertThat(Footprint.of(self).threads()).isGreaterThan(1);
  }
}
