package io.tailwater.perf.report;

import io.tailwater.perf.bench.Lap;
import io.tailwater.perf.bench.LongRun;
import io.tailwater.perf.measure.Quartiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;

/// How agents fare over a long time, as text and picture: `long.md`, `long.png`. What a program
/// loses little by little shows here: the last quarter of the turns is held against the second.
public final class LongReport {
  /// What the last quarter may have more than the second one.
  private static final double MOST_PSS = 1.05;

  private static final long MOST_DESCRIPTORS = 16;
  private static final int ROWS = 10;

  private final Machine machine;
  private final Map<String, List<Lap>> laps = new LinkedHashMap<>();

  public LongReport(Machine machine) {
    this.machine = machine;
  }

  /// Takes a turn; returns what is to be said of it.
  public String add(Lap lap) {
    laps.computeIfAbsent(lap.grade(), _ -> new ArrayList<>()).add(lap);
    return "%s: %s".formatted(lap.grade(), row(lap).replace(" | ", ", ").replace("|", ""));
  }

  private static String row(Lap lap) {
    return "| %.0f | %s | %s | %s | %.1f | %d | %d |"
        .formatted(
            lap.minute(),
            Report.number(lap.connectionsPerSecond(), 0),
            Report.number(lap.requestsPerSecond(), 0),
            Report.number(lap.requestP99(), 0),
            lap.footprint().pssKb() / 1000.0,
            lap.footprint().descriptors(),
            lap.footprint().threads());
  }

  public String markdown() {
    StringBuilder text = new StringBuilder("# A long run\n\n");
    text.append(machine.sentence()).append(".  \n");
    text.append(
        "Agents take turns: new connections, requests, rest. Each holds %,d connections all the time.\n"
            .formatted(LongRun.HELD));
    laps.forEach((grade, all) -> {
      text.append("\n## ").append(grade).append("\n\n");
      text.append(
          "%d turns, %,d connections, %,d requests, no failure, nothing held was lost.\n\n"
              .formatted(
                  all.size(),
                  all.stream().mapToLong(Lap::connections).sum(),
                  all.stream().mapToLong(Lap::requests).sum()));
      text.append(
          "| minute | new connections/s | requests/s | p99 of a request, µs | PSS MB | descriptors"
              + " | threads |\n|---:|---:|---:|---:|---:|---:|---:|\n");
      some(all).forEach(lap -> text.append(row(lap)).append('\n'));
    });
    return text.toString();
  }

  /// Ten of them, the first and the last included.
  private static List<Lap> some(List<Lap> all) {
    if (all.size() <= ROWS) {
      return all;
    }
    return java.util.stream.IntStream.range(0, ROWS)
        .mapToObj(i -> all.get((int) Math.round((all.size() - 1.0) * i / (ROWS - 1))))
        .toList();
  }

  /// What has grown and should not have; nothing can be said of fewer than eight turns.
  public List<String> grown() {
    List<String> out = new ArrayList<>();
    laps.forEach((grade, all) -> {
      if (all.size() < 8) {
        return;
      }
      double pssBefore = second(all, lap -> lap.footprint().pssKb());
      double pssAfter = last(all, lap -> lap.footprint().pssKb());
      if (pssAfter > pssBefore * MOST_PSS) {
        out.add(
            "%s: memory went from %.1f to %.1f MB PSS"
                .formatted(grade, pssBefore / 1000, pssAfter / 1000));
      }
      double openBefore = second(all, lap -> lap.footprint().descriptors());
      double openAfter = last(all, lap -> lap.footprint().descriptors());
      if (openAfter > openBefore + MOST_DESCRIPTORS) {
        out.add(
            "%s: open descriptors went from %.0f to %.0f".formatted(grade, openBefore, openAfter));
      }
    });
    return out;
  }

  private static double second(List<Lap> all, ToDoubleFunction<Lap> of) {
    return median(all.subList(all.size() / 4, all.size() / 2), of);
  }

  private static double last(List<Lap> all, ToDoubleFunction<Lap> of) {
    return median(all.subList(all.size() * 3 / 4, all.size()), of);
  }

  private static double median(List<Lap> some, ToDoubleFunction<Lap> of) {
    return Quartiles.of(some.stream().map(of::applyAsDouble).toList()).median();
  }

  /// Writes both files into a folder, which is made if need be.
  public void write(Path folder) throws IOException {
    Files.createDirectories(folder);
    Files.writeString(folder.resolve("long.md"), markdown());
    Plot.save(
        folder.resolve("long.png"),
        () ->
            Chart.draw(
                "A long run",
                machine,
                List.of(
                    List.of(
                        chart("new connections/s", Lap::connectionsPerSecond),
                        chart("requests/s", Lap::requestsPerSecond),
                        chart("PSS MB", lap -> lap.footprint().pssKb() / 1000.0)))));
  }

  private Chart chart(String title, ToDoubleFunction<Lap> of) {
    return new Chart(
        title,
        "minutes",
        false,
        laps.entrySet().stream()
            .collect(
                Collectors.toMap(
                    Map.Entry::getKey,
                    e ->
                        e.getValue().stream()
                            .map(lap -> new Chart.Point(lap.minute(), of.applyAsDouble(lap)))
                            .toList(),
                    (a, _) -> a,
                    LinkedHashMap::new)));
  }
}
