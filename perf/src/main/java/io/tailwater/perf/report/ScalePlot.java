package io.tailwater.perf.report;

import io.tailwater.perf.bench.Measure;
import io.tailwater.perf.bench.ScalePoint;
import java.awt.image.BufferedImage;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A row of charts for each axis: its sizes, on a scale of powers of ten, against rates and memory.
final class ScalePlot {
  private static final List<Measure> CHARTS =
      List.of(Measure.REQUESTS, Measure.CONNECTIONS, Measure.LOADED_PSS);

  private ScalePlot() {}

  static BufferedImage draw(ScaleReport report) {
    return Chart.draw(
        "More of everything",
        report.machine(),
        report.axes().stream()
            .map(axis -> CHARTS.stream().map(measure -> chart(report, axis, measure)).toList())
            .toList());
  }

  /// Memory of all that is held where something is, else at rest.
  private static Optional<Double> value(ScaleReport report, ScalePoint point, Measure measure) {
    Optional<Double> value = report.median(point, measure);
    return value.isPresent() || measure != Measure.LOADED_PSS
        ? value
        : report.median(point, Measure.IDLE_PSS);
  }

  private static Chart chart(ScaleReport report, ScalePoint.Axis axis, Measure measure) {
    Map<String, List<Chart.Point>> lines = new LinkedHashMap<>();
    for (String grade : List.of("kernel", "splice")) {
      lines.put(
          grade,
          report
              .points(axis)
              .filter(point -> point.grade().equals(grade))
              .flatMap(point ->
                  value(report, point, measure).stream()
                      .map(value -> new Chart.Point(point.size(), value)))
              .toList());
    }
    return new Chart(
        measure == Measure.LOADED_PSS ? "PSS MB, loaded or idle" : measure.label(),
        axis.title(),
        true,
        lines);
  }
}
