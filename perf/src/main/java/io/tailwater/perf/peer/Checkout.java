package io.tailwater.perf.peer;

import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// Where this program belongs to, and which agent it measures. Stateless.
public final class Checkout {
  private Checkout() {}

  /// The agent's command line: `TAILWATER_COMMAND`, else what the launcher built; empty where
  /// neither is known.
  public static List<String> agent() {
    String command =
        Optional.ofNullable(System.getenv("TAILWATER_COMMAND"))
            .or(() -> Optional.ofNullable(System.getProperty("tailwater.command")))
            .orElse("")
            .strip();
    return command.isEmpty() ? List.of() : List.of(command.split("\\s+", -1));
  }

  /// The repository: the property `tailwater.root`, else three folders above our own classes.
  public static Path root() {
    String property = System.getProperty("tailwater.root");
    if (property != null) {
      return Path.of(property).toAbsolutePath();
    }
    try {
      return Path.of(Checkout.class.getProtectionDomain().getCodeSource().getLocation().toURI())
          .resolve("../../..")
          .normalize();
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }
}
