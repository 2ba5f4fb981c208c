package io.tailwater.perf.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/// Lines over one axis, a line for each contestant; a picture is rows of them. Values begin at
/// zero.
///
/// @param along what grows to the right
/// @param powersOfTen whether each further piece to the right is ten times as much; it then begins
///   at 1
record Chart(String title, String along, boolean powersOfTen, Map<String, List<Point>> lines) {
  static final int HEIGHT = 300;
  private static final int WIDTH = 450;
  private static final int HEADER = 96;
  private static final int LEFT = 70;
  private static final int MARGIN = 50;

  /// Values written below the axis where they are not few: every so many-th.
  private static final int LABELS = 6;

  record Point(double x, double y) {}

  Chart {
    lines = new LinkedHashMap<>(lines);
  }

  /// A picture of rows of charts.
  static BufferedImage draw(String title, Machine machine, List<List<Chart>> rows) {
    int columns = rows.stream().mapToInt(List::size).max().orElse(1);
    BufferedImage image =
        new BufferedImage(
            columns * WIDTH, HEADER + rows.size() * HEIGHT, BufferedImage.TYPE_INT_RGB);
    Graphics2D g = Plot.canvas(image, title, machine);
    Plot.legend(
        g,
        rows.stream()
            .flatMap(List::stream)
            .flatMap(chart -> chart.lines.keySet().stream())
            .distinct()
            .toList());
    for (int row = 0; row < rows.size(); row++) {
      for (int column = 0; column < rows.get(row).size(); column++) {
        Graphics2D part =
            (Graphics2D) g.create(column * WIDTH, HEADER + row * HEIGHT, WIDTH, HEIGHT);
        rows.get(row).get(column).draw(part);
        part.dispose();
      }
    }
    g.dispose();
    return image;
  }

  private Stream<Point> points() {
    return lines.values().stream().flatMap(List::stream);
  }

  private void draw(Graphics2D g) {
    double top = points().mapToDouble(Point::y).max().orElse(1);
    double most = points().mapToDouble(Point::x).max().orElse(1);
    int bottom = HEIGHT - MARGIN;
    g.setColor(Color.BLACK);
    g.setFont(new Font(Font.SANS_SERIF, Font.BOLD, 14));
    g.drawString(title, LEFT, 24);
    g.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, 12));
    g.drawLine(LEFT, bottom, WIDTH - 20, bottom);
    g.drawString(along, LEFT + 110, bottom + 40);
    for (int i = 0; i <= 4; i++) {
      int y = y(bottom, top * i / 4, top);
      g.setColor(new Color(0xdddddd));
      g.drawLine(LEFT, y, WIDTH - 20, y);
      g.setColor(Color.BLACK);
      g.drawString(Report.number(top * i / 4, 0), 8, y + 4);
    }
    lines.forEach((name, line) -> {
      g.setColor(Plot.colour(name));
      g.setStroke(new BasicStroke(2f));
      Point before = null;
      for (Point point : line) {
        g.fillOval(x(point.x, most) - 4, y(bottom, point.y, top) - 4, 8, 8);
        if (before != null) {
          g.drawLine(
              x(before.x, most),
              y(bottom, before.y, top),
              x(point.x, most),
              y(bottom, point.y, top));
        }
        before = point;
      }
    });
    g.setColor(Color.BLACK);
    for (double x : labels()) {
      g.drawString(Report.number(x, 0), x(x, most) - 10, bottom + 18);
    }
  }

  private List<Double> labels() {
    List<Double> all = points().map(Point::x).distinct().sorted().toList();
    if (all.size() <= LABELS) {
      return all;
    }
    List<Double> some = new ArrayList<>();
    for (int i = 0; i < all.size(); i += Math.ceilDiv(all.size(), LABELS)) {
      some.add(all.get(i));
    }
    return some;
  }

  private int x(double value, double most) {
    double share =
        powersOfTen
            ? Math.log10(value) / Math.max(1, Math.log10(most))
            : value / Math.max(1e-9, most);
    return LEFT + 10 + (int) Math.round(share * (WIDTH - LEFT - 60));
  }

  private static int y(int bottom, double value, double top) {
    return bottom - (int) Math.round(value / Math.max(1e-9, top) * (bottom - MARGIN));
  }
}
