package io.tailwater.agent.config;

import io.tailwater.agent.control.source.YamlValue;
import java.util.ArrayList;
import java.util.List;

/// The place that is being read: which text (a file or an environment variable), which key, and
/// where problems go. One reading owns it.
record At(String text, boolean environment, String key, List<ConfigProblem> problems) {
  private static final int LONGEST_SHOWN = 80;

  static At file(String file, List<ConfigProblem> problems) {
    return new At(file, false, "", problems);
  }

  static At variable(String name, List<ConfigProblem> problems) {
    return new At(name, true, "", problems);
  }

  /// The same text at another key.
  At key(String path) {
    return new At(text, environment, path, problems);
  }

  /// The same text at a key below, or at an item (`[0]`).
  At below(String name) {
    return key(key.isEmpty() || name.startsWith("[") ? key + name : key + "." + name);
  }

  /// `file:line`, or the name of the variable.
  String where(int line) {
    return environment || line < 1 ? text : text + ":" + line;
  }

  void error(int line, String message) {
    add(ConfigProblem.Kind.ERROR, line, message);
  }

  void notBuilt(int line, String message) {
    add(ConfigProblem.Kind.NOT_BUILT_YET, line, message);
  }

  void warning(int line, String message) {
    add(ConfigProblem.Kind.WARNING, line, message);
  }

  private void add(ConfigProblem.Kind kind, int line, String message) {
    problems.add(new ConfigProblem(kind, where(line), key, message));
  }

  /// A copy that collects elsewhere.
  At quiet() {
    return new At(text, environment, key, new ArrayList<>());
  }

  /// What a value is, for messages; what strangers wrote is made fit for one line.
  static String noun(YamlValue value) {
    return switch (value) {
      case YamlValue.Scalar(_, String text, YamlValue.Scalar.Kind kind) ->
          kind == YamlValue.Scalar.Kind.NULL ? "nothing" : "\"" + shown(text) + "\"";
      case YamlValue.Sequence _ -> "a list";
      case YamlValue.Mapping _ -> "a mapping";
    };
  }

  static String shown(String raw) {
    StringBuilder out = new StringBuilder();
    for (int i = 0; i < raw.length() && out.length() < LONGEST_SHOWN; i++) {
      char c = raw.charAt(i);
      if (Character.isISOControl(c) || Character.getType(c) == Character.FORMAT) {
        out.append(String.format("\\u%04x", (int) c));
      } else {
        out.append(c);
      }
    }
    return raw.length() > LONGEST_SHOWN ? out + "..." : out.toString();
  }
}
