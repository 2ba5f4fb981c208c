package io.tailwater.iptables.apply;

import io.tailwater.iptables.netns.NetworkNamespace;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/// Runs a foreign program to its end. A seam: tests put a script of answers here.
@FunctionalInterface
public interface CommandRunner {
  /// What a program left behind.
  ///
  /// @param exit its exit status
  record Result(int exit, String output, String error) {
    public boolean succeeded() {
      return exit == 0;
    }

    /// What it complained of, in one line and without the advice to read its help; its exit status
    /// when it said nothing.
    public String complaint() {
      String said =
          error
              .lines()
              .map(String::strip)
              .filter(line -> !line.isEmpty() && !line.startsWith("Try `"))
              .map(line -> line.endsWith(".") ? line.substring(0, line.length() - 1) : line)
              .collect(Collectors.joining("; "));
      return said.isEmpty() ? "exit status " + exit : said;
    }
  }

  /// Runs a program with `input` as its standard input.
  ///
  /// @param inside the network namespace that it runs in; the agent's own where there is none
  /// @param command the program and its arguments
  /// @param environment variables besides those of this process, as `NAME=value`
  /// @throws CommandException when it does not exist, or did not end in time and was killed
  Result run(
      Optional<NetworkNamespace> inside,
      List<String> command,
      String input,
      List<String> environment);

  /// In a namespace, with the environment of this process.
  default Result run(NetworkNamespace inside, List<String> command, String input) {
    return run(Optional.of(inside), command, input, List.of());
  }

  /// In the agent's own namespace.
  default Result run(List<String> command, String input) {
    return run(Optional.empty(), command, input, List.of());
  }

  /// A program that could not be run to its end.
  final class CommandException extends RuntimeException {
    private final boolean absent;

    public CommandException(String message, boolean absent) {
      super(message);
      this.absent = absent;
    }

    /// Whether there is no such program.
    public boolean isAbsent() {
      return absent;
    }
  }
}
