package io.tailwater.agent.cli;

import java.util.List;
import picocli.CommandLine.Command;

/// `clusters`: destinations with their addresses and counters, as Envoy prints them.
@Command(
    name = "clusters",
    description =
        "Destinations of a running agent with their addresses and counters, as Envoy prints them.",
    footer = "%nExample: tailwater clusters | grep cx_active",
    mixinStandardHelpOptions = true)
final class ClustersCommand extends AskCommand {
  @Override
  public Integer call() {
    return get("/clusters", List.of());
  }
}
