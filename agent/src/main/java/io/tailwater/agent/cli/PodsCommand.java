package io.tailwater.agent.cli;

import picocli.CommandLine.Command;

/// `pods`: which pods are captured.
@Command(
    name = "pods",
    description = "The pods of a running agent, and whether they are captured.",
    footer = "%nExample: tailwater pods -o json",
    mixinStandardHelpOptions = true)
final class PodsCommand extends PodPageCommand {
  PodsCommand() {
    super("/pods");
  }
}
