package io.tailwater.perf;

import io.tailwater.lab.LabException;
import io.tailwater.lab.Privileges;
import io.tailwater.perf.bench.Bench;
import io.tailwater.perf.bench.Part;
import io.tailwater.perf.bench.Plan;
import io.tailwater.perf.bench.Sample;
import io.tailwater.perf.code.CodeCommand;
import io.tailwater.perf.peer.BenchException;
import io.tailwater.perf.peer.Checkout;
import io.tailwater.perf.peer.Entrants;
import io.tailwater.perf.peer.Peers;
import io.tailwater.perf.policy.PolicyCommand;
import io.tailwater.perf.report.Machine;
import io.tailwater.perf.report.Report;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/// `./tailwater perf`. Exit codes are those of the launcher: 0 measured, 1 something failed while
/// measuring, 2 bad usage, 3 a privilege or a package is missing.
@Command(
    name = "tailwater perf",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    subcommands = {PolicyCommand.class, CodeCommand.class, ScaleCommand.class, LongCommand.class},
    description =
        "Measures direct connections, Tailwater in all its grades, nginx, HAProxy and Envoy in one"
            + " run, each in a pod of its own, in alternating rounds.",
    footer = {
      "",
      "Example: ./tailwater perf --quick --only direct,envoy,splice",
      "Writes a table, raw data and a picture. Needs root; nothing leaves the machine."
    })
public final class Perf implements Callable<Integer> {
  private static final int REAL_TLS_ROUNDS = 3;

  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--quick",
      description = "Short rounds and no second table, about two minutes; for a first look.")
  private boolean quick;

  @Option(
      names = "--rounds",
      paramLabel = "N",
      description = "Counted rounds (9, with --quick 3). A warm-up round comes on top.")
  private Optional<Integer> rounds = Optional.empty();

  @Option(
      names = "--only",
      split = ",",
      paramLabel = "NAME",
      description =
          "Some of: direct, tracked, kernel, splice, copy, io_uring, nginx, haproxy, envoy."
              + " Default: all.")
  private List<String> only = List.of();

  @Option(
      names = "--parts",
      split = ",",
      paramLabel = "PART",
      description =
          "Some of: memory, requests, connections, bulk, start; without the second table. Default:"
              + " all but start, which measures the first 10 s after a start.")
  private Set<Part> parts = Set.of();

  @Option(
      names = "--with",
      paramLabel = "NAME=COMMAND",
      description =
          "One more proxy, started in a pod: {port} is where it listens, {dns} whom it asks,"
              + " {domain} what it allows.")
  private Map<String, String> with = Map.of();

  @Option(
      names = {"-o", "--output"},
      paramLabel = "DIR",
      description = "Where the results go (perf/results; with --parts .tailwater/perf).")
  private Optional<Path> output = Optional.empty();

  public static void main(String[] arguments) {
    System.exit(commandLine().execute(arguments));
  }

  static CommandLine commandLine() {
    return new CommandLine(new Perf()).setCaseInsensitiveEnumValuesAllowed(true);
  }

  @Override
  public Integer call() throws IOException {
    List<String> image = Checkout.agent();
    Entrants entrants = new Entrants(Checkout.root().resolve(".tailwater/peers"), image, with);
    List<String> all = entrants.names();
    List<String> names =
        new ArrayList<>(only.isEmpty() ? all : all.stream().filter(only::contains).toList());
    List<String> unknown = only.stream().filter(name -> !all.contains(name)).toList();
    if (!unknown.isEmpty()) {
      return refuse(2, "--only: unknown " + unknown + ", there are " + all);
    }
    List<String> unfit =
        with.keySet().stream().filter(name -> !name.matches("[a-z][a-z0-9-]{0,20}")).toList();
    if (!unfit.isEmpty() || all.stream().distinct().count() < all.size()) {
      return refuse(
          2, "--with: a name is a word in lower case that nobody else has, not " + with.keySet());
    }
    if (rounds.isPresent() && (rounds.get() < 1 || rounds.get() > 100)) {
      return refuse(2, "--rounds: " + rounds.get() + " is outside 1..100");
    }
    List<String> missing = Privileges.missing();
    if (!missing.isEmpty()) {
      return refuse(
          3, "cannot measure here: " + String.join(", ", missing) + "; try: sudo ./tailwater perf");
    }
    boolean tools = !quick && parts.isEmpty();
    List<String> packages = Peers.missingPackages(names, tools);
    if (!packages.isEmpty()) {
      return refuse(
          3,
          "missing packages: apt-get install --no-install-recommends "
              + String.join(" ", packages));
    }
    if (image.isEmpty() && names.stream().anyMatch(Entrants::isAgent)) {
      if (only.stream().anyMatch(Entrants::isAgent)) {
        return refuse(2, "tailwater: its command is not known, set TAILWATER_COMMAND");
      }
      say("tailwater is left out: its command is not known, set TAILWATER_COMMAND");
      names.removeIf(Entrants::isAgent);
    }

    Set<Part> measured = parts.isEmpty() ? Part.usual() : parts;
    Plan plan = quick ? Plan.quick() : Plan.full();
    plan = rounds.isPresent() ? plan.withRounds(rounds.get()) : plan;
    Path root = Checkout.root();
    Machine machine = Machine.read(root);
    say(machine.sentence());
    if (machine.load() > machine.cores() / 2.0) {
      say("The machine is busy: rates will be low and machine CPU will be others', too.");
    }
    long begun = System.nanoTime();
    try (Bench bench = new Bench(plan, measured, names, entrants, line -> progress(begun, line))) {
      List<Sample> samples = new ArrayList<>(bench.run());
      if (tools) {
        samples.addAll(bench.realTls(REAL_TLS_ROUNDS));
      }
      Report report = new Report(machine, plan, bench.contestants(), samples);
      // what is published is a whole run
      Path usual = root.resolve(parts.isEmpty() ? "perf/results" : ".tailwater/perf");
      Path folder = output.orElse(usual);
      report.write(folder);
      System.out.print(report.markdown());
      say("written to " + folder);
      return 0;
    } catch (IOException e) {
      return refuse(1, "cannot write the results: " + e.getMessage());
    } catch (BenchException | LabException e) {
      return refuse(1, e.getMessage());
    }
  }

  private void progress(long begun, String line) {
    say("%4.0f s  %s".formatted((System.nanoTime() - begun) / 1e9, line));
  }

  private int refuse(int exit, String why) {
    say("perf: " + why);
    return exit;
  }

  private void say(String line) {
    spec.commandLine().getErr().println(line);
    spec.commandLine().getErr().flush();
  }
}
