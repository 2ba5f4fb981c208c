package io.tailwater.agent.admin;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Optional;
import java.util.Properties;

/// Which build this is. `commit` is empty where the build did not know it.
public record BuildInfo(String version, String commit) {

  /// What the build wrote into the jar.
  public static BuildInfo read() {
    Properties properties = new Properties();
    try (InputStream in = BuildInfo.class.getResourceAsStream("/tailwater-build.properties")) {
      if (in != null) {
        properties.load(in);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return new BuildInfo(value(properties, "version", "unknown"), value(properties, "commit", ""));
  }

  /// A placeholder that no build filled counts as nothing.
  private static String value(Properties properties, String name, String fallback) {
    return Optional.ofNullable(properties.getProperty(name))
        .filter(v -> !v.isBlank() && !v.contains("${"))
        .orElse(fallback);
  }
}
