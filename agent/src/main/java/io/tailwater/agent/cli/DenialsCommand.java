package io.tailwater.agent.cli;

import picocli.CommandLine.Command;

/// `denials`: what was refused.
@Command(
    name = "denials",
    description = "What was refused, and the narrowest YAML that would allow it.",
    footer = "%nExample: tailwater denials --namespace default",
    mixinStandardHelpOptions = true)
final class DenialsCommand extends PodPageCommand {
  DenialsCommand() {
    super("/denials");
  }
}
