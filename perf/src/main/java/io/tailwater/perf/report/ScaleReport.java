package io.tailwater.perf.report;

import io.tailwater.perf.bench.Measure;
import io.tailwater.perf.bench.ScalePoint;
import io.tailwater.perf.measure.Quartiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// How the agent fares with more of everything, as text and picture: `scale.md`, `scale.png`.
public final class ScaleReport {
  private static final List<Measure> SHOWN =
      List.of(
          Measure.START,
          Measure.IDLE_PSS,
          Measure.LOADED_PSS,
          Measure.REQUESTS,
          Measure.REQUEST_P99,
          Measure.CONNECTIONS,
          Measure.CONNECTION_P99,
          Measure.CONNECTION_CPU);

  private final Machine machine;
  private final int rounds;
  private final Map<ScalePoint, Map<Measure, List<Double>>> visits = new LinkedHashMap<>();

  public ScaleReport(Machine machine, int rounds) {
    this.machine = machine;
    this.rounds = rounds;
  }

  /// Takes a visit; returns what is to be said of it.
  public String add(ScalePoint point, Map<Measure, Double> found) {
    Map<Measure, List<Double>> all = visits.computeIfAbsent(point, _ -> new LinkedHashMap<>());
    found.forEach(
        (measure, value) -> all.computeIfAbsent(measure, _ -> new ArrayList<>()).add(value));
    return "%s, %,d %s: %s"
        .formatted(
            point.grade(),
            point.size(),
            point.axis().title(),
            SHOWN.stream()
                .filter(found::containsKey)
                .map(m -> m.label() + " " + Report.number(found.get(m), m.decimals()))
                .collect(Collectors.joining(", ")));
  }

  /// Points in the order in which they were first visited.
  Stream<ScalePoint> points(ScalePoint.Axis axis) {
    return visits.keySet().stream().filter(point -> point.axis() == axis);
  }

  List<ScalePoint.Axis> axes() {
    return visits.keySet().stream().map(ScalePoint::axis).distinct().sorted().toList();
  }

  Optional<Double> median(ScalePoint point, Measure measure) {
    return Optional.ofNullable(visits.get(point))
        .map(all -> all.get(measure))
        .map(values -> Quartiles.of(values).median());
  }

  Machine machine() {
    return machine;
  }

  public String markdown() {
    StringBuilder text = new StringBuilder("# More of everything\n\n");
    text.append(machine.sentence()).append(".  \n");
    text.append(
        "%d visits to each size, in alternating order; medians. 32 connections at a time.\n"
            .formatted(rounds));
    for (ScalePoint.Axis axis : axes()) {
      table(text, axis);
    }
    return text.toString();
  }

  private void table(StringBuilder text, ScalePoint.Axis axis) {
    List<Measure> columns =
        SHOWN.stream()
            .filter(measure -> points(axis).anyMatch(point -> median(point, measure).isPresent()))
            .toList();
    text.append("\n| | ").append(axis.title());
    columns.forEach(measure -> text.append(" | ").append(measure.title()));
    text.append(" |\n|---|---:|").append("---:|".repeat(columns.size())).append('\n');
    points(axis)
        .forEach(point -> {
          text.append("| %s | %,d".formatted(point.grade(), point.size()));
          for (Measure measure : columns) {
            text.append(" | ")
                .append(
                    median(point, measure)
                        .map(value -> Report.number(value, measure.decimals()))
                        .orElse("-"));
          }
          text.append(" |\n");
        });
  }

  /// Writes both files into a folder, which is made if need be.
  public void write(Path folder) throws IOException {
    Files.createDirectories(folder);
    Files.writeString(folder.resolve("scale.md"), markdown());
    Plot.save(folder.resolve("scale.png"), () -> ScalePlot.draw(this));
  }
}
