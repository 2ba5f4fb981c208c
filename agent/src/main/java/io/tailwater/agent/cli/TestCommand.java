package io.tailwater.agent.cli;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/// `tailwater test`: runs policy tests.
@Command(
    name = "test",
    mixinStandardHelpOptions = true,
    description =
        "Run policy tests: what must become of which connection. Needs no root and no network.",
    footer = {"", "Example: tailwater test policy-tests/", ""})
final class TestCommand implements Callable<Integer> {
  @Parameters(arity = "1..*", paramLabel = "PATH", description = "files or folders of policy tests")
  private List<Path> paths = new ArrayList<>();

  @Mixin private OutputOption output = new OutputOption();

  @Option(
      names = {"-v", "--verbose"},
      description = "name the files that pass, too")
  private boolean verbose;

  @Spec private CommandSpec spec;

  /// Made by picocli.
  @SuppressWarnings("NullAway.Init")
  TestCommand() {}

  @Override
  public Integer call() throws IOException {
    Optional<List<Path>> files = PolicyFiles.of(spec, paths);
    if (files.isEmpty()) {
      return 2;
    }
    Map<Path, List<PolicyTestRun.Failure>> results = new LinkedHashMap<>();
    files.get().forEach(file -> results.put(file, PolicyTestRun.run(file)));
    long failed = results.values().stream().filter(f -> !f.isEmpty()).count();
    PrintWriter out = spec.commandLine().getOut();
    switch (output.format()) {
      case text -> text(out, results, failed);
      case json -> json(out, results, failed);
    }
    out.flush();
    return failed == 0 ? 0 : 1;
  }

  private void text(PrintWriter out, Map<Path, List<PolicyTestRun.Failure>> results, long failed) {
    results.forEach((file, failures) -> {
      if (!failures.isEmpty()) {
        out.println("FAILED " + file);
        failures.forEach(f -> out.println("  " + f.text()));
      } else if (verbose) {
        out.println("ok     " + file);
      }
    });
    out.println((results.size() - failed) + " passed, " + failed + " failed");
  }

  private static void json(
      PrintWriter out, Map<Path, List<PolicyTestRun.Failure>> results, long failed)
      throws IOException {
    JsonGenerator json = new JsonFactory().createGenerator(out).useDefaultPrettyPrinter();
    json.writeStartObject();
    json.writeNumberField("passed", results.size() - failed);
    json.writeNumberField("failed", failed);
    json.writeArrayFieldStart("files");
    for (Map.Entry<Path, List<PolicyTestRun.Failure>> result : results.entrySet()) {
      json.writeStartObject();
      json.writeStringField("file", result.getKey().toString());
      json.writeBooleanField("passed", result.getValue().isEmpty());
      json.writeArrayFieldStart("failures");
      for (PolicyTestRun.Failure failure : result.getValue()) {
        json.writeStartObject();
        json.writeStringField("probe", failure.probe());
        json.writeNumberField("line", failure.line());
        json.writeStringField("key", failure.key());
        json.writeStringField("expected", failure.expected());
        json.writeStringField("actual", failure.actual());
        json.writeEndObject();
      }
      json.writeEndArray();
      json.writeEndObject();
    }
    json.writeEndArray();
    json.writeEndObject();
    json.flush();
    out.println();
  }
}
