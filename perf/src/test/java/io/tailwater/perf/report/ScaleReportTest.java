package io.tailwater.perf.report;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.perf.bench.Measure;
import io.tailwater.perf.bench.ScalePoint;
import io.tailwater.perf.bench.ScalePoint.Axis;
import java.awt.image.BufferedImage;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Map;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ScaleReportTest {
  private static final Machine MACHINE =
      new Machine("CPU", 2, 24_000, "Linux", "25", "abc", 0.1, Instant.EPOCH);

  private static final ScalePoint ONE = new ScalePoint(Axis.PODS, "kernel", 1);
  private static final ScalePoint MANY = new ScalePoint(Axis.PODS, "kernel", 200);

  private final ScaleReport report = new ScaleReport(MACHINE, 3);

  @BeforeEach
  void visits() {
    for (double rate : new double[] {1000, 3000, 2000}) {
      report.add(ONE, Map.of(Measure.CONNECTIONS, rate, Measure.IDLE_PSS, 75.0));
      report.add(MANY, Map.of(Measure.CONNECTIONS, rate / 2, Measure.IDLE_PSS, 90.0));
    }
  }

  @Test
  void theTableHasTheMedianOfAllVisitsToASize() {
    assertThat(report.markdown())
        .contains("| | pods captured | memory idle, PSS MB | new connections/s |")
        .contains("| kernel | 1 | 75.0 | 2,000 |")
        .contains("| kernel | 200 | 90.0 | 1,000 |")
        .doesNotContain("ServiceEntries");
  }

  @Test
  void thePictureHasARowForEachAxisThatWasMeasured(@TempDir Path folder) throws Exception {
    report.write(folder);

    BufferedImage picture = ImageIO.read(folder.resolve("scale.png").toFile());
    report.add(new ScalePoint(Axis.POLICIES, "splice", 10), Map.of(Measure.REQUESTS, 5.0));
    report.write(folder);
    BufferedImage taller = ImageIO.read(folder.resolve("scale.png").toFile());
    assertThat(taller.getHeight() - picture.getHeight()).isEqualTo(300);
    assertThat(Files.readString(folder.resolve("scale.md"))).contains("ServiceEntries");
  }
}
