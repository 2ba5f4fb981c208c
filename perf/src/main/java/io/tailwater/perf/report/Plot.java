package io.tailwater.perf.report;

import io.tailwater.perf.bench.Measure;
import io.tailwater.perf.measure.Quartiles;
import io.tailwater.perf.peer.Contestant;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import javax.imageio.ImageIO;

/// The picture: two panels of grouped bars, speed as a ratio to the direct connection (longer is
/// better) and cost as a ratio to Envoy (shorter is better), with the quartiles as whiskers. Drawn
/// with Java's own graphics, headless.
final class Plot {
  private static final int WIDTH = 1400;
  private static final int PANEL = 430;
  private static final int HEADER = 96;
  private static final int LEFT = 70;
  private static final int RIGHT = 30;
  private static final int LABELS = 60;

  private static final Map<String, Color> COLOURS =
      Map.of(
          Contestant.DIRECT,
          new Color(0x9e9e9e),
          "tracked",
          new Color(0xc8c8c8),
          "nginx",
          new Color(0x4caf50),
          "haproxy",
          new Color(0x8e6bbf),
          "envoy",
          new Color(0xe08a3c),
          "kernel",
          new Color(0x0b3d6b),
          "splice",
          new Color(0x1f77b4),
          "copy",
          new Color(0x63a9d8),
          "io_uring",
          new Color(0xa6d0ec));

  private static final List<Measure> SPEED =
      List.of(Measure.REQUESTS, Measure.CONNECTIONS, Measure.UP, Measure.DOWN);
  private static final List<Measure> COST =
      List.of(
          Measure.REQUEST_P99,
          Measure.REQUEST_CPU,
          Measure.CONNECTION_CPU,
          Measure.UP_CPU,
          Measure.DOWN_CPU,
          Measure.IDLE_PSS,
          Measure.HELD_PSS);

  private Plot() {}

  /// Writes a picture.
  ///
  /// @throws IOException also where Java's graphics cannot work
  static void save(Path file, Supplier<BufferedImage> picture) throws IOException {
    System.setProperty("java.awt.headless", "true");
    try {
      ImageIO.write(picture.get(), "png", file.toFile());
    } catch (RuntimeException | InternalError | LinkageError e) {
      // Java's graphics need the system's font configuration even where there is no screen.
      throw new IOException(
          "tables and data are there, the picture is not: "
              + e
              + " (Debian: apt-get install --no-install-recommends fontconfig)",
          e);
    }
  }

  static Color colour(String contestant) {
    return COLOURS.getOrDefault(contestant, Color.DARK_GRAY);
  }

  /// White, with what it is about and where it was measured.
  static Graphics2D canvas(BufferedImage image, String title, Machine machine) {
    Graphics2D g = image.createGraphics();
    g.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
    g.setRenderingHint(
        RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
    g.setColor(Color.WHITE);
    g.fillRect(0, 0, image.getWidth(), image.getHeight());
    g.setColor(Color.BLACK);
    g.setFont(font(Font.BOLD, 22));
    g.drawString(title, LEFT, 34);
    g.setFont(font(Font.PLAIN, 13));
    g.drawString(machine.sentence(), LEFT, 58);
    return g;
  }

  static BufferedImage draw(Machine machine, List<String> contestants, Summary summary) {
    BufferedImage image = new BufferedImage(WIDTH, HEADER + 2 * PANEL, BufferedImage.TYPE_INT_RGB);
    Graphics2D g = canvas(image, "Egress by name: side by side in one run", machine);
    legend(g, contestants);
    panel(
        g,
        HEADER,
        "Speed, ratio to direct (higher is better)",
        contestants,
        SPEED,
        Contestant.DIRECT,
        summary);
    panel(
        g,
        HEADER + PANEL,
        "Cost, ratio to Envoy (lower is better)",
        contestants,
        COST,
        "envoy",
        summary);
    g.dispose();
    return image;
  }

  static void legend(Graphics2D g, List<String> contestants) {
    int x = LEFT;
    g.setFont(font(Font.PLAIN, 14));
    for (String name : contestants) {
      g.setColor(colour(name));
      g.fillRect(x, 72, 14, 14);
      g.setColor(Color.BLACK);
      g.drawString(name, x + 20, 84);
      x += 40 + g.getFontMetrics().stringWidth(name);
    }
  }

  private static void panel(
      Graphics2D g,
      int top,
      String title,
      List<String> contestants,
      List<Measure> measures,
      String base,
      Summary summary) {
    int bottom = top + PANEL - LABELS;
    int height = bottom - top - 50;
    double limit =
        measures.stream()
            .flatMap(measure ->
                contestants.stream().flatMap(name -> summary.ratio(name, base, measure).stream()))
            .mapToDouble(Quartiles::upper)
            .max()
            .orElse(1);
    limit = Math.max(1.25, Math.ceil(limit * 4 + 0.4) / 4);

    g.setColor(Color.BLACK);
    g.setFont(font(Font.BOLD, 16));
    g.drawString(title, LEFT, top + 28);
    axis(g, bottom, height, limit);

    int group = (WIDTH - LEFT - RIGHT) / measures.size();
    int bar = Math.min(44, (group - 24) / Math.max(1, contestants.size()));
    for (int m = 0; m < measures.size(); m++) {
      Measure measure = measures.get(m);
      int x = LEFT + m * group + (group - bar * contestants.size()) / 2;
      for (String name : contestants) {
        Optional<Quartiles> ratio = summary.ratio(name, base, measure);
        if (ratio.isPresent()) {
          bar(g, x, bottom, bar, height / limit, ratio.get(), colour(name));
        }
        x += bar;
      }
      g.setColor(Color.BLACK);
      g.setFont(font(Font.PLAIN, 13));
      int width = g.getFontMetrics().stringWidth(measure.label());
      g.drawString(measure.label(), LEFT + m * group + (group - width) / 2, bottom + 20);
    }
  }

  private static void axis(Graphics2D g, int bottom, int height, double limit) {
    double step = limit > 6 ? 1 : limit > 2.5 ? 0.5 : 0.25;
    g.setFont(font(Font.PLAIN, 12));
    for (double at = 0; at <= limit + 1e-9; at += step) {
      int y = (int) Math.round(bottom - at * height / limit);
      g.setColor(Math.abs(at - 1) < 1e-9 ? Color.BLACK : new Color(0xdddddd));
      g.drawLine(LEFT, y, WIDTH - RIGHT, y);
      g.setColor(Color.BLACK);
      g.drawString(String.format(Locale.ROOT, "%.2f", at), LEFT - 40, y + 4);
    }
  }

  private static void bar(
      Graphics2D g, int x, int bottom, int width, double scale, Quartiles ratio, Color colour) {
    int top = (int) Math.round(bottom - ratio.median() * scale);
    g.setColor(colour);
    g.fillRect(x + 2, top, width - 4, bottom - top);
    int low = (int) Math.round(bottom - ratio.lower() * scale);
    int high = (int) Math.round(bottom - ratio.upper() * scale);
    int middle = x + width / 2;
    g.setColor(Color.BLACK);
    g.setStroke(new BasicStroke(1.2f));
    g.drawLine(middle, low, middle, high);
    g.setFont(font(Font.PLAIN, 11));
    String text = String.format(Locale.ROOT, "%.2f", ratio.median());
    int textWidth = g.getFontMetrics().stringWidth(text);
    g.drawString(text, x + (width - textWidth) / 2, Math.min(top, high) - 4);
  }

  private static Font font(int style, int size) {
    return new Font(Font.SANS_SERIF, style, size);
  }
}
