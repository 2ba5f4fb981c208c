package io.tailwater.perf.policy;

import io.tailwater.perf.code.Benchmarks;
import io.tailwater.perf.code.ImageLauncher;
import io.tailwater.perf.peer.Checkout;
import io.tailwater.perf.peer.GeneratedPolicy;
import io.tailwater.perf.report.Machine;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.openjdk.jmh.runner.RunnerException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/// `./tailwater perf policy`. 0 when the bounds hold, 1 when one does not or something failed, 2
/// bad usage.
@Command(
    name = "policy",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Loads 10,000 ServiceEntries (2,000 of them wildcards) out of 20 files in fresh JVMs with"
            + " the agent's own flags, and measures decisions with JMH. Needs no root.",
    footer = {"", "Example: ./tailwater perf policy --loads 5"})
public final class PolicyCommand implements Callable<Integer> {
  /// What must hold: milliseconds of a load, nanoseconds of a decision.
  private static final double MOST_LOAD_MILLIS = 2000;

  private static final double MOST_DECISION_NANOS = 1000;

  /// JMH's own bookkeeping shows as a thousandth of a byte.
  private static final double NO_BYTES = 0.1;

  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--loads",
      paramLabel = "N",
      defaultValue = "7",
      description = "How many JVMs load the policy (default: ${DEFAULT-VALUE}).")
  private int loads = 7;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "DIR",
      description =
          "Where policy.md goes (.tailwater/perf; perf/results has the one that is published).")
  private Optional<Path> output = Optional.empty();

  @Override
  public Integer call() throws IOException, InterruptedException {
    if (loads < 1 || loads > 100) {
      return refuse(2, "--loads: " + loads + " is outside 1..100");
    }
    List<String> image = Checkout.agent();
    if (image.isEmpty()) {
      return refuse(2, "the agent's image is not known; start with ./tailwater perf policy");
    }
    ImageLauncher launcher = ImageLauncher.read(Path.of(image.getFirst()));
    Path root = Checkout.root();
    Machine machine = Machine.read(root);
    Path policy = Files.createTempDirectory("tailwater-policy-");
    try {
      GeneratedPolicy.write(policy);
      List<LoadMain.Loaded> loaded = new ArrayList<>();
      for (int i = 0; i < loads; i++) {
        loaded.add(load(launcher, policy));
      }
      PolicyReport report =
          new PolicyReport(
              machine,
              launcher,
              size(policy),
              loaded,
              Benchmarks.run(
                  launcher, DecisionBenchmark.class, Map.of("folder", policy.toString())));
      Path folder = output.orElse(root.resolve(".tailwater/perf"));
      Files.createDirectories(folder);
      Files.writeString(folder.resolve("policy.md"), report.markdown());
      spec.commandLine().getOut().print(report.markdown());
      spec.commandLine().getOut().println("written to " + folder.resolve("policy.md"));
      spec.commandLine().getOut().flush();
      List<String> broken = report.broken(MOST_LOAD_MILLIS, MOST_DECISION_NANOS, NO_BYTES);
      broken.forEach(line -> refuse(1, line));
      return broken.isEmpty() ? 0 : 1;
    } catch (RunnerException | IllegalStateException e) {
      return refuse(1, String.valueOf(e.getMessage()));
    } finally {
      remove(policy);
    }
  }

  /// One fresh JVM.
  private static LoadMain.Loaded load(ImageLauncher launcher, Path policy)
      throws IOException, InterruptedException {
    ProcessBuilder builder =
        new ProcessBuilder(
                launcher.command(ownClasses(), LoadMain.class, List.of(policy.toString())))
            .redirectError(ProcessBuilder.Redirect.INHERIT);
    builder.environment().put("MALLOC_ARENA_MAX", "1");
    Process process = builder.start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    if (process.waitFor() != 0) {
      throw new IllegalStateException("the load ended with " + process.exitValue());
    }
    return LoadMain.Loaded.parse(said);
  }

  private static String ownClasses() {
    try {
      return Path.of(
              PolicyCommand.class.getProtectionDomain().getCodeSource().getLocation().toURI())
          .toString();
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  private static long size(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.mapToLong(file -> file.toFile().length()).sum();
    }
  }

  private static void remove(Path folder) throws IOException {
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    }
  }

  private int refuse(int exit, String why) {
    spec.commandLine().getErr().println("perf policy: " + why);
    spec.commandLine().getErr().flush();
    return exit;
  }
}
