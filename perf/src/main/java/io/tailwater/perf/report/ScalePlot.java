package io.tailwater.perf.report;

import io.tailwater.perf.bench.Measure;
import io.tailwater.perf.bench.ScalePoint;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.util.List;
import java.util.Optional;

/// A row of charts for each axis: its sizes, on a scale of powers of ten, against rates and memory.
/// Every chart begins at zero.
final class ScalePlot {
  private static final int CHART_WIDTH = 450;
  private static final int CHART_HEIGHT = 300;
  private static final int HEADER = 96;
  private static final int LEFT = 70;
  private static final int MARGIN = 50;

  private static final List<Measure> CHARTS =
      List.of(Measure.REQUESTS, Measure.CONNECTIONS, Measure.LOADED_PSS);

  private ScalePlot() {}

  static BufferedImage draw(ScaleReport report) {
    List<ScalePoint.Axis> axes = report.axes();
    BufferedImage image =
        new BufferedImage(
            CHARTS.size() * CHART_WIDTH,
            HEADER + axes.size() * CHART_HEIGHT,
            BufferedImage.TYPE_INT_RGB);
    Graphics2D g = Plot.canvas(image, "More of everything", report.machine());
    Plot.legend(g, List.of("kernel", "splice"));
    for (int row = 0; row < axes.size(); row++) {
      for (int column = 0; column < CHARTS.size(); column++) {
        chart(
            (Graphics2D)
                g.create(
                    column * CHART_WIDTH, HEADER + row * CHART_HEIGHT, CHART_WIDTH, CHART_HEIGHT),
            report,
            axes.get(row),
            CHARTS.get(column));
      }
    }
    g.dispose();
    return image;
  }

  /// Memory of all that is held where something is, else at rest.
  private static Optional<Double> value(ScaleReport report, ScalePoint point, Measure measure) {
    Optional<Double> value = report.median(point, measure);
    return value.isPresent() || measure != Measure.LOADED_PSS
        ? value
        : report.median(point, Measure.IDLE_PSS);
  }

  private static void chart(
      Graphics2D g, ScaleReport report, ScalePoint.Axis axis, Measure measure) {
    List<ScalePoint> points =
        report.points(axis).filter(p -> value(report, p, measure).isPresent()).toList();
    double top =
        points.stream().mapToDouble(p -> value(report, p, measure).orElse(0.0)).max().orElse(1);
    double most = points.stream().mapToInt(ScalePoint::size).max().orElse(10);
    int bottom = CHART_HEIGHT - MARGIN;
    g.setColor(Color.BLACK);
    g.setFont(new Font(Font.SANS_SERIF, Font.BOLD, 14));
    g.drawString(
        measure == Measure.LOADED_PSS ? "PSS MB, loaded or idle" : measure.label(), LEFT, 24);
    g.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, 12));
    g.drawLine(LEFT, bottom, CHART_WIDTH - 20, bottom);
    g.drawString(axis.title(), LEFT + 110, bottom + 40);
    for (int i = 0; i <= 4; i++) {
      int y = y(bottom, top * i / 4, top);
      g.setColor(new Color(0xdddddd));
      g.drawLine(LEFT, y, CHART_WIDTH - 20, y);
      g.setColor(Color.BLACK);
      g.drawString(Report.number(top * i / 4, 0), 8, y + 4);
    }
    for (String grade : List.of("kernel", "splice")) {
      g.setColor(Plot.colour(grade));
      g.setStroke(new BasicStroke(2f));
      int[] before = null;
      for (ScalePoint point : points) {
        if (point.grade().equals(grade)) {
          int[] at = {
            x(point.size(), most), y(bottom, value(report, point, measure).orElseThrow(), top)
          };
          g.fillOval(at[0] - 4, at[1] - 4, 8, 8);
          if (before != null) {
            g.drawLine(before[0], before[1], at[0], at[1]);
          }
          before = at;
        }
      }
    }
    g.setColor(Color.BLACK);
    points.stream()
        .mapToInt(ScalePoint::size)
        .distinct()
        .forEach(size -> g.drawString(Report.number(size, 0), x(size, most) - 10, bottom + 18));
    g.dispose();
  }

  private static int x(int size, double most) {
    double share = Math.log10(size) / Math.max(1, Math.log10(most));
    return LEFT + 10 + (int) Math.round(share * (CHART_WIDTH - LEFT - 60));
  }

  private static int y(int bottom, double value, double top) {
    return bottom - (int) Math.round(value / top * (bottom - MARGIN));
  }
}
