package io.tailwater.agent.cli;

import io.tailwater.iptables.apply.IptablesVariant;
import java.util.Optional;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/// Reads `--backend`; empty is auto.
final class Backend implements ITypeConverter<Optional<IptablesVariant>> {
  @Override
  public Optional<IptablesVariant> convert(String text) {
    return switch (text) {
      case "auto" -> Optional.empty();
      case "iptables-nft" -> Optional.of(IptablesVariant.NFT);
      case "iptables-legacy" -> Optional.of(IptablesVariant.LEGACY);
      case "nft" -> throw new TypeConversionException("nft is not built yet");
      default ->
          throw new TypeConversionException(
              "must be auto, iptables-nft or iptables-legacy, not \"" + text + "\"");
    };
  }
}
