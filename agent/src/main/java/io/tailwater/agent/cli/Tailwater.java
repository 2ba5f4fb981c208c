package io.tailwater.agent.cli;

import io.tailwater.agent.admin.LogLevels;
import picocli.CommandLine;
import picocli.CommandLine.Command;

/// The command line. Exit codes: 0 fine, 1 a check, test or something at run time failed, 2 bad
/// usage or input, 3 a privilege, package or kernel feature is missing.
@Command(
    name = "tailwater",
    description = "Egress control by name for the pods of a Kubernetes node.",
    mixinStandardHelpOptions = true,
    subcommands = {
      RunCommand.class,
      CheckCommand.class,
      ExplainCommand.class,
      TestCommand.class,
      RulesCommand.class,
      PreflightCommand.class,
      ClustersCommand.class,
      ConnectionsCommand.class,
      PodsCommand.class,
      InventoryCommand.class,
      DenialsCommand.class,
      GenerateCommand.class,
      LogLevelCommand.class,
      DrainCommand.class,
      VersionCommand.class
    })
public final class Tailwater {
  Tailwater() {}

  /// Runs one command and ends the process with its exit code.
  public static void main(String[] args) {
    LogLevels.install();
    System.exit(new CommandLine(new Tailwater()).execute(args));
  }
}
