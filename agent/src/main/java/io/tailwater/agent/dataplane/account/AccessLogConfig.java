package io.tailwater.agent.dataplane.account;

import java.nio.file.Path;

/// The `accessLog:` section. `/dev/stdout` is the process's own standard output.
public record AccessLogConfig(Format format, Path path) {
  /// How a record is written.
  public enum Format {
    /// One line of fields in ztunnel's order.
    TEXT,
    /// One JSON object on one line.
    JSON
  }
}
