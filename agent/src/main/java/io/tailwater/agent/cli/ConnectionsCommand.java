package io.tailwater.agent.cli;

import picocli.CommandLine.Command;

/// `connections`: what lives now.
@Command(
    name = "connections",
    description = "Connections that live now, in a running agent.",
    footer = "%nExample: tailwater connections --namespace default",
    mixinStandardHelpOptions = true)
final class ConnectionsCommand extends PodPageCommand {
  ConnectionsCommand() {
    super("/connections");
  }
}
