package io.tailwater.agent.cli;

import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/// `log-level`: shows or changes how much a running agent says.
@Command(
    name = "log-level",
    description = {
      "Show or change how much a running agent says.",
      "Without arguments the levels are shown; with LEVEL all are set, with LOGGER LEVEL one."
    },
    footer = "%nExample: tailwater log-level agent.dataplane.flow debug",
    mixinStandardHelpOptions = true)
final class LogLevelCommand extends AskCommand {
  @Parameters(
      arity = "0..2",
      paramLabel = "[LOGGER] LEVEL",
      description = "trace, debug, info, warning, error, critical or off.")
  private List<String> arguments = List.of();

  @Override
  public Integer call() {
    List<Parameter> parameters = new ArrayList<>();
    switch (arguments.size()) {
      case 0 -> {}
      case 1 -> parameters.add(new Parameter("level", arguments.getFirst()));
      default ->
          // As `paths`, so that a logger called "level" or "format" is one.
          parameters.add(new Parameter("paths", arguments.getFirst() + ":" + arguments.getLast()));
    }
    if (isJson()) {
      parameters.add(new Parameter("format", "json"));
    }
    return post("/logging", parameters);
  }
}
