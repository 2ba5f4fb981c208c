package io.tailwater.agent.cli;

import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/// `drain`: a running agent lets go of its pods.
@Command(
    name = "drain",
    description = "Make a running agent let go of its pods.",
    footer = "%nExample: tailwater drain --uninstall",
    mixinStandardHelpOptions = true)
final class DrainCommand extends AskCommand {
  @Option(
      names = "--uninstall",
      description = "Remove every rule too, so that pods go out as if there never was an agent.")
  private boolean uninstall;

  @Override
  public Integer call() {
    return post(
        "/drain_listeners", uninstall ? List.of(new Parameter("uninstall", "true")) : List.of());
  }
}
