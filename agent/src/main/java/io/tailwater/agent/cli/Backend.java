package io.tailwater.agent.cli;

import io.tailwater.iptables.apply.IptablesVariant;
import java.util.Optional;
import picocli.CommandLine;
import picocli.CommandLine.ParameterException;

/// Reads `--backend`.
final class Backend {
  private Backend() {}

  /// Empty is auto.
  ///
  /// @throws ParameterException when it is none, or not built yet
  static Optional<IptablesVariant> read(CommandLine line, String text) {
    return switch (text) {
      case "auto" -> Optional.empty();
      case "iptables-nft" -> Optional.of(IptablesVariant.NFT);
      case "iptables-legacy" -> Optional.of(IptablesVariant.LEGACY);
      case "nft" ->
          throw new ParameterException(
              line, "--backend nft is not built yet; write auto, iptables-nft or iptables-legacy");
      default ->
          throw new ParameterException(
              line,
              "--backend must be auto, iptables-nft or iptables-legacy, not \"" + text + "\"");
    };
  }
}
