package io.tailwater.agent.cli;

import picocli.CommandLine.Command;

/// `generate`: resources out of what was observed.
@Command(
    name = "generate",
    description = "Make resources out of what pods really called.",
    footer = {
      "",
      "Example: tailwater generate serviceentries --namespace default > observed.yaml",
      ""
    },
    mixinStandardHelpOptions = true,
    subcommands = GenerateServiceEntriesCommand.class)
final class GenerateCommand {}
