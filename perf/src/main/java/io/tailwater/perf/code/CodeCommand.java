package io.tailwater.perf.code;

import io.tailwater.perf.peer.Checkout;
import io.tailwater.perf.report.Machine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.openjdk.jmh.runner.RunnerException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/// `./tailwater perf code`. 1 when something failed, 2 bad usage.
@Command(
    name = "code",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Measures with JMH what the agent's own code costs for each connection. Needs no root.",
    footer = {"", "Example: ./tailwater perf code -o perf/results"})
public final class CodeCommand implements Callable<Integer> {
  private static final List<Class<?>> HOT =
      List.of(SniffBenchmark.class, ResolveBenchmark.class, GateBenchmark.class);

  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = {"-o", "--output"},
      paramLabel = "DIR",
      description =
          "Where code.md goes (.tailwater/perf; perf/results has the one that is published).")
  private Optional<Path> output = Optional.empty();

  @Override
  public Integer call() throws IOException {
    List<String> image = Checkout.agent();
    if (image.isEmpty()) {
      return refuse(2, "the agent's image is not known; start with ./tailwater perf code");
    }
    ImageLauncher launcher = ImageLauncher.read(Path.of(image.getFirst()));
    Path root = Checkout.root();
    StringBuilder text = new StringBuilder("# The agent's own code\n\n");
    text.append("Made by `./tailwater perf code`: ")
        .append(Machine.read(root).sentence())
        .append(".\n\n")
        .append("`")
        .append(String.join(" ", launcher.portableFlags()))
        .append("`\n\n")
        .append(Measured.TABLE_HEAD);
    try {
      for (Class<?> benchmark : HOT) {
        Benchmarks.run(launcher, benchmark, Map.of()).forEach(one -> text.append(one.row()));
      }
    } catch (RunnerException e) {
      return refuse(1, String.valueOf(e.getMessage()));
    }
    Path folder = output.orElse(root.resolve(".tailwater/perf"));
    Files.createDirectories(folder);
    Files.writeString(folder.resolve("code.md"), text);
    spec.commandLine().getOut().print(text);
    spec.commandLine().getOut().println("written to " + folder.resolve("code.md"));
    spec.commandLine().getOut().flush();
    return 0;
  }

  private int refuse(int exit, String why) {
    spec.commandLine().getErr().println("perf code: " + why);
    spec.commandLine().getErr().flush();
    return exit;
  }
}
