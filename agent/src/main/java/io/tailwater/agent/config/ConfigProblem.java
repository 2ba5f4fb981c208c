package io.tailwater.agent.config;

/// One thing that is wrong with the configuration. `where` is `file:line`, or the name of the
/// environment variable; `key` is the dotted path and may be empty.
public record ConfigProblem(Kind kind, String where, String key, String message) {

  /// How grave it is.
  public enum Kind {
    /// The agent does not start.
    ERROR,
    /// The key is known and this version does not do it; the agent does not start.
    NOT_BUILT_YET,
    /// It starts, and says so.
    WARNING
  }

  /// Whether it keeps the agent from starting.
  public boolean stops() {
    return kind != Kind.WARNING;
  }

  /// `file:line: key.path: what is wrong`.
  @Override
  public String toString() {
    return where + ": " + (key.isEmpty() ? "" : key + ": ") + message;
  }
}
