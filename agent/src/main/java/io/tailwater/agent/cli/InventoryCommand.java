package io.tailwater.agent.cli;

import picocli.CommandLine.Command;

/// `inventory`: what pods really called.
@Command(
    name = "inventory",
    description = "The names, ports and protocols that pods really called.",
    footer = "%nExample: tailwater inventory --pod ratings-v1",
    mixinStandardHelpOptions = true)
final class InventoryCommand extends PodPageCommand {
  InventoryCommand() {
    super("/inventory");
  }
}
