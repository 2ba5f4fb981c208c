package io.tailwater.perf.report;

import io.tailwater.perf.bench.Measure;
import io.tailwater.perf.bench.Plan;
import io.tailwater.perf.bench.Sample;
import io.tailwater.perf.measure.Quartiles;
import io.tailwater.perf.peer.Contestant;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/// One run as text, data and picture: `perf.md`, `perf.json`, `perf.png`.
public final class Report {
  private final Machine machine;
  private final Plan plan;
  private final List<Contestant> contestants;
  private final List<Sample> samples;
  private final Summary summary;

  public Report(Machine machine, Plan plan, List<Contestant> contestants, List<Sample> samples) {
    this.machine = machine;
    this.plan = plan;
    this.contestants = List.copyOf(contestants);
    this.samples = List.copyOf(samples);
    this.summary = new Summary(samples);
  }

  /// Writes the files into a folder, which is made if need be; what an earlier run wrote is
  /// replaced.
  public void write(Path folder) throws IOException {
    Files.createDirectories(folder);
    Files.writeString(folder.resolve("perf.md"), markdown());
    Files.writeString(
        folder.resolve("perf.json"), ResultJson.write(machine, plan, contestants, samples));
    Plot.save(folder.resolve("perf.png"), () -> Plot.draw(machine, names(), summary));
  }

  private List<String> names() {
    return contestants.stream().map(Contestant::name).toList();
  }

  /// The tables.
  public String markdown() {
    StringBuilder text = new StringBuilder("# Performance, one run\n\n");
    text.append(machine.sentence()).append(".  \n");
    text.append(contestants.stream().map(Contestant::version).collect(Collectors.joining(", ")));
    text.append(
        ".  \n%d rounds of %.1f s and %.1f GB, %d connections, messages of %d bytes each way; medians.\n\n"
            .formatted(
                plan.rounds(),
                plan.millis() / 1000.0,
                plan.bulkBytes() / 1e9,
                plan.connections(),
                Plan.MESSAGE));
    Cell medians =
        (name, measure) ->
            summary.value(name, measure).map(value -> number(value.median(), measure.decimals()));
    table(text, measures(false), medians);
    if (samples.stream().anyMatch(sample -> sample.measure().realTls())) {
      text.append("\n## Other tools, real TLS\n\n");
      text.append("wrk and h2load against nginx with TLS 1.3. iperf3 speaks no TLS, so nothing\n");
      text.append("could route it by name: it measures the direct path alone, as a check.\n\n");
      table(text, measures(true), medians);
    }
    for (String base : List.of(Contestant.DIRECT, "envoy")) {
      if (names().contains(base) && names().size() > 1) {
        text.append("\n## Ratio to ")
            .append(base)
            .append("\n\nMedian of the quotients within each round, quartiles in brackets.\n\n");
        table(
            text,
            measures(false),
            (name, measure) -> summary.ratio(name, base, measure).map(Report::ratio));
      }
    }
    targets(text);
    return text.toString();
  }

  private void targets(StringBuilder text) {
    StringBuilder rows = new StringBuilder();
    for (Target target : Target.ALL) {
      target
          .reached(summary)
          .ifPresent(reached ->
              rows.append(
                  "| %s | %s | %s | %s | %s |\n"
                      .formatted(
                          target.contestant(),
                          target.measure().title(),
                          target.wanted(),
                          ratio(reached),
                          target.verdict(reached))));
    }
    if (rows.isEmpty()) {
      return;
    }
    text.append("\n## Targets\n\n");
    text.append("Met when the worse quartile meets it, missed when the better one does not.");
    if (plan.rounds() < Target.ROUNDS) {
      text.append(
          " With %d rounds this is a first look: a verdict takes %d."
              .formatted(plan.rounds(), Target.ROUNDS));
    }
    text.append("\n\n| | measure | wanted | reached | |\n|---|---|---|---:|---|\n").append(rows);
  }

  private static List<Measure> measures(boolean realTls) {
    return Arrays.stream(Measure.values()).filter(measure -> measure.realTls() == realTls).toList();
  }

  private interface Cell {
    Optional<String> of(String contestant, Measure measure);
  }

  private void table(StringBuilder text, List<Measure> measures, Cell cell) {
    text.append("| | ").append(String.join(" | ", names())).append(" |\n|---|");
    text.append("---:|".repeat(names().size())).append('\n');
    for (Measure measure : measures) {
      List<Optional<String>> cells = names().stream().map(name -> cell.of(name, measure)).toList();
      if (cells.stream().allMatch(Optional::isEmpty)) {
        continue;
      }
      text.append("| ").append(measure.title()).append(" | ");
      text.append(
          IntStream.range(0, cells.size())
              .mapToObj(i -> cells.get(i).orElse("-"))
              .collect(Collectors.joining(" | ")));
      text.append(" |\n");
    }
  }

  private static String ratio(Quartiles ratio) {
    return "%.2f (%.2f..%.2f)".formatted(ratio.median(), ratio.lower(), ratio.upper());
  }

  /// Thousands are grouped, so that rates can be read.
  static String number(double value, int decimals) {
    return String.format(Locale.ROOT, "%,." + decimals + "f", value);
  }
}
