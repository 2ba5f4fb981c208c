package io.tailwater.agent.config;

import java.util.Locale;
import java.util.Optional;
import java.util.function.Function;

/// One key of the configuration: where it stands, how it is written, what holds when it is absent,
/// and what it means. The reader, the environment, the reference table and `/config_dump` all go by
/// it.
///
/// @param fallback as it would be written; empty where the default is worked out at start
/// @param shownDefault the default for the reference table
/// @param from the value in a finished configuration
record ConfigKey<T>(
    String path,
    Shape<T> shape,
    Optional<String> fallback,
    String shownDefault,
    String meaning,
    Function<AgentConfig, Optional<T>> from) {

  /// The environment variable that overrides it: `TAILWATER_` and the path in upper snake case.
  String variable() {
    StringBuilder out = new StringBuilder(AgentConfigReader.PREFIX);
    for (int i = 0; i < path.length(); i++) {
      char c = path.charAt(i);
      if (c == '.') {
        out.append('_');
      } else if (Character.isUpperCase(c)) {
        out.append('_').append(c);
      } else {
        out.append(c);
      }
    }
    return out.toString().toUpperCase(Locale.ROOT);
  }

  /// The value in force, as it would be written; empty where there is none.
  String show(AgentConfig config) {
    return from.apply(config).map(shape::show).orElse("");
  }
}
