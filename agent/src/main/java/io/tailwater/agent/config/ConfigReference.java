package io.tailwater.agent.config;

/// The reference table of the documentation, made from the keys themselves.
final class ConfigReference {
  private ConfigReference() {}

  /// The page as Markdown.
  static String page() {
    StringBuilder out = new StringBuilder();
    out.append(
        """
        # Configuration

        One YAML file, given to `tailwater run --config FILE`. Every key has a default. Relative paths start at
        the folder of the file. Durations are written `300ms`, `5s`, `1h` or `1h30m`. A variable overrides its key;
        lists are written by comma, mappings as `name=value` by comma, and `TAILWATER_SOURCES` lists paths. Variables
        that Kubernetes injects for a Service are ignored, other unknown `TAILWATER_` variables are warned about.

        A value that says *not built yet* is known and refused: the agent stops with exit code 2 and says so, so that
        nobody believes in a protection that is not there.

        This page is generated from the keys; `ConfigReferenceTest` compares it.

        | key | value | default | meaning | variable |
        |---|---|---|---|---|
        """);
    for (ConfigKey<?> key : ConfigKeys.all()) {
      out.append("| `").append(key.path()).append("` | ");
      out.append(cell(key.shape().syntax())).append(" | ");
      out.append(code(key)).append(" | ");
      out.append(cell(key.meaning())).append(" | ");
      out.append("`").append(key.variable()).append("` |\n");
    }
    return out.toString();
  }

  private static String code(ConfigKey<?> key) {
    return key.fallback()
        .filter(f -> !f.isEmpty())
        .map(f -> "`" + f + "`")
        .orElse(key.shownDefault());
  }

  private static String cell(String text) {
    return text.replace("|", "\\|");
  }
}
