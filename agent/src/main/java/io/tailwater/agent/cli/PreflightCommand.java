package io.tailwater.agent.cli;

import io.tailwater.iptables.apply.Preflight;
import io.tailwater.iptables.apply.Preflight.Finding;
import io.tailwater.iptables.apply.Processes;
import java.io.PrintWriter;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/// `preflight`: what this machine lacks. 0 when pods can be captured, 3 when something is missing.
@Command(
    name = "preflight",
    description = "Every capability, module, sysctl or program that is missing, and what to do.",
    footer = {"%nExample: tailwater preflight", "         tailwater preflight --mode node"},
    mixinStandardHelpOptions = true)
final class PreflightCommand implements Callable<Integer> {
  @Spec private @Nullable CommandSpec spec;

  @Option(
      names = "--backend",
      paramLabel = "BACKEND",
      defaultValue = "auto",
      description = "auto, iptables-nft, iptables-legacy or nft (default: ${DEFAULT-VALUE}).")
  private String backend = "auto";

  @Option(
      names = "--mode",
      paramLabel = "MODE",
      defaultValue = "in-pod",
      description = {
        "in-pod or node: where the rules are to stand (default: ${DEFAULT-VALUE}). For node run it",
        "in the node's network namespace."
      })
  private String mode = "in-pod";

  @Mixin private OutputOption output = new OutputOption();

  @Override
  public Integer call() {
    CommandLine line = Optional.ofNullable(spec).orElseThrow().commandLine();
    if (!List.of("in-pod", "node").contains(mode)) {
      throw new ParameterException(line, "--mode must be in-pod or node, not \"" + mode + "\"");
    }
    List<Finding> findings =
        new Preflight(new Processes(), Backend.read(line, backend), mode.equals("node")).run();
    PrintWriter out = line.getOut();
    boolean missing = findings.stream().anyMatch(f -> f.state() == Finding.State.MISSING);
    if (output.isJson()) {
      out.println(json(findings));
    } else {
      findings.forEach(f -> print(out, f));
      out.println(missing ? "Pods cannot be captured here." : "Pods can be captured here.");
    }
    out.flush();
    return missing ? 3 : 0;
  }

  private static void print(PrintWriter out, Finding f) {
    out.printf("%-8s %s: %s%n", word(f), f.what(), f.found());
    if (!f.whatToDo().isEmpty()) {
      out.printf("         %s%n", f.whatToDo());
    }
  }

  private static String word(Finding f) {
    return f.state().name().toLowerCase(Locale.ROOT);
  }

  private static String json(List<Finding> findings) {
    return Printed.json(json -> {
      json.writeStartArray();
      for (Finding f : findings) {
        json.writeStartObject();
        json.writeStringField("what", f.what());
        json.writeStringField("state", word(f));
        json.writeStringField("found", f.found());
        json.writeStringField("what_to_do", f.whatToDo());
        json.writeEndObject();
      }
      json.writeEndArray();
    });
  }
}
