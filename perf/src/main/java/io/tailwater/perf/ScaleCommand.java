package io.tailwater.perf;

import io.tailwater.lab.LabException;
import io.tailwater.lab.Privileges;
import io.tailwater.perf.bench.Plan;
import io.tailwater.perf.bench.Scale;
import io.tailwater.perf.bench.ScalePoint;
import io.tailwater.perf.peer.BenchException;
import io.tailwater.perf.peer.Checkout;
import io.tailwater.perf.peer.Entrants;
import io.tailwater.perf.report.Machine;
import io.tailwater.perf.report.ScaleReport;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/// `./tailwater perf scale`. 1 when a connection failed or was lost, 2 bad usage, 3 something is
/// missing.
@Command(
    name = "scale",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Measures the agent with more and more held connections, captured pods and"
            + " ServiceEntries, in alternating rounds. Needs root.",
    footer = {"", "Example: ./tailwater perf scale --axes pods --rounds 1"})
final class ScaleCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--axes",
      split = ",",
      paramLabel = "AXIS",
      description = "Some of: connections, pods, policies. Default: all.")
  private Set<ScalePoint.Axis> axes = Set.of();

  @Option(
      names = "--rounds",
      paramLabel = "N",
      defaultValue = "3",
      description = "How often each size is visited (default: ${DEFAULT-VALUE}).")
  private int rounds = 3;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "DIR",
      description =
          "Where scale.md and scale.png go (.tailwater/perf; perf/results has those that are"
              + " published).")
  private Optional<Path> output = Optional.empty();

  @Override
  public Integer call() throws IOException {
    if (rounds < 1 || rounds > 100) {
      return refuse(2, "--rounds: " + rounds + " is outside 1..100");
    }
    List<String> image = Checkout.agent();
    if (image.isEmpty()) {
      return refuse(2, "the agent's command is not known, set TAILWATER_COMMAND");
    }
    List<String> missing = Privileges.missing();
    if (!missing.isEmpty()) {
      return refuse(3, "cannot measure here: " + String.join(", ", missing));
    }
    Path root = Checkout.root();
    Machine machine = Machine.read(root);
    say(machine.sentence());
    Set<ScalePoint.Axis> measured = axes.isEmpty() ? EnumSet.allOf(ScalePoint.Axis.class) : axes;
    List<ScalePoint> points =
        measured.stream().sorted().map(ScalePoint::of).flatMap(List::stream).toList();
    Entrants entrants = new Entrants(root.resolve(".tailwater/peers"), image, Map.of());
    Scale scale = new Scale(Plan.visit(), entrants);
    ScaleReport report = new ScaleReport(machine, rounds);
    long begun = System.nanoTime();
    try {
      for (int round = 0; round < rounds; round++) {
        List<ScalePoint> order = new ArrayList<>(points);
        for (ScalePoint point : round % 2 == 0 ? order : order.reversed()) {
          String line = report.add(point, scale.visit(point));
          say("%4.0f s  %s".formatted((System.nanoTime() - begun) / 1e9, line));
        }
      }
      Path folder = output.orElse(root.resolve(".tailwater/perf"));
      report.write(folder);
      spec.commandLine().getOut().print(report.markdown());
      spec.commandLine().getOut().flush();
      say("written to " + folder);
      return 0;
    } catch (BenchException | LabException e) {
      return refuse(1, e.getMessage());
    }
  }

  private int refuse(int exit, String why) {
    say("perf scale: " + why);
    return exit;
  }

  private void say(String line) {
    spec.commandLine().getErr().println(line);
    spec.commandLine().getErr().flush();
  }
}
