package io.tailwater.agent.cli;

import picocli.CommandLine.Option;

/// `-o`, the same for every command that prints data: mixed in by picocli, which fills it.
final class OutputOption {
  @Option(
      names = {"-o", "--output"},
      paramLabel = "FORMAT",
      defaultValue = "text",
      description = "text or json.")
  private OutputFormat format = OutputFormat.text;

  OutputFormat format() {
    return format;
  }

  boolean isJson() {
    return format == OutputFormat.json;
  }
}
