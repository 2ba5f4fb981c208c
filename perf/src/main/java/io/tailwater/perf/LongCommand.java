package io.tailwater.perf;

import io.tailwater.lab.LabException;
import io.tailwater.lab.Privileges;
import io.tailwater.perf.bench.LongRun;
import io.tailwater.perf.bench.Plan;
import io.tailwater.perf.peer.BenchException;
import io.tailwater.perf.peer.Checkout;
import io.tailwater.perf.peer.Entrants;
import io.tailwater.perf.report.LongReport;
import io.tailwater.perf.report.Machine;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/// `./tailwater perf long`. 1 when a connection failed or was lost or something grew, 2 bad usage,
/// 3 something is missing.
@Command(
    name = "long",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Keeps agents under load for a long time and looks at what they take up. Needs root.",
    footer = {"", "Example: ./tailwater perf long --minutes 60 --grades kernel"})
final class LongCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--minutes",
      paramLabel = "N",
      defaultValue = "30",
      description = "How long in all (default: ${DEFAULT-VALUE}).")
  private int minutes = 30;

  @Option(
      names = "--grades",
      split = ",",
      paramLabel = "NAME",
      description = "Some of: kernel, splice, copy, io_uring. Default: kernel,splice.")
  private List<String> grades = List.of("kernel", "splice");

  @Option(
      names = {"-o", "--output"},
      paramLabel = "DIR",
      description =
          "Where long.md and long.png go (.tailwater/perf; perf/results has those that are"
              + " published).")
  private Optional<Path> output = Optional.empty();

  @Override
  public Integer call() throws IOException {
    if (minutes < 1 || minutes > 1440) {
      return refuse(2, "--minutes: " + minutes + " is outside 1..1440");
    }
    List<String> unknown = grades.stream().filter(grade -> !Entrants.isAgent(grade)).toList();
    if (!unknown.isEmpty()) {
      return refuse(2, "--grades: unknown " + unknown);
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
    LongReport report = new LongReport(machine);
    Entrants entrants = new Entrants(root.resolve(".tailwater/peers"), image, Map.of());
    try {
      new LongRun(Plan.turn(), entrants, grades.stream().distinct().toList())
          .run(Duration.ofMinutes(minutes), lap -> say(report.add(lap)));
    } catch (BenchException | LabException e) {
      return refuse(1, e.getMessage());
    }
    Path folder = output.orElse(root.resolve(".tailwater/perf"));
    report.write(folder);
    spec.commandLine().getOut().print(report.markdown());
    spec.commandLine().getOut().flush();
    say("written to " + folder);
    List<String> grown = report.grown();
    grown.forEach(line -> refuse(1, line));
    return grown.isEmpty() ? 0 : 1;
  }

  private int refuse(int exit, String why) {
    say("perf long: " + why);
    return exit;
  }

  private void say(String line) {
    spec.commandLine().getErr().println(line);
    spec.commandLine().getErr().flush();
  }
}
