package io.tailwater.agent.cli;

import io.tailwater.iptables.apply.RuleBackend;
import java.util.Optional;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.ParameterException;

/// Reads `--backend`.
final class Backend {
  private Backend() {}

  /// Empty is auto.
  ///
  /// @throws ParameterException when it is none
  static Optional<RuleBackend> read(CommandLine line, String text) {
    if (text.equals("auto")) {
      return Optional.empty();
    }
    return Optional.of(
        Stream.of(RuleBackend.values())
            .filter(backend -> backend.toString().equals(text))
            .findFirst()
            .orElseThrow(() ->
                new ParameterException(
                    line,
                    "--backend must be auto, "
                        + String.join(", ", RuleBackend.names())
                        + ", not \""
                        + text
                        + "\"")));
  }
}
