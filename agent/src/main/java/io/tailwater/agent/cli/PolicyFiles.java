package io.tailwater.agent.cli;

import io.tailwater.agent.control.source.FileResources;
import java.io.IOException;
import java.nio.file.FileVisitOption;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/// Finds the YAML and JSON files that a command was given: a file as it is, a folder with all below
/// it, hidden names left out.
final class PolicyFiles {
  private PolicyFiles() {}

  /// The files, sorted.
  ///
  /// @throws IOException when the path is not there or cannot be read, with a message for people
  static List<Path> below(Path path) throws IOException {
    if (!Files.exists(path)) {
      throw new IOException("there is no such file or folder: " + path);
    }
    if (!Files.isDirectory(path)) {
      return List.of(path);
    }
    try (Stream<Path> files = Files.walk(path, 16, FileVisitOption.FOLLOW_LINKS)) {
      return files
          .filter(FileResources::isResourceFile)
          .filter(file -> !isHidden(path.relativize(file)))
          .filter(Files::isRegularFile)
          .sorted()
          .toList();
    } catch (java.io.UncheckedIOException e) {
      throw new IOException("cannot read " + path + ": " + e.getMessage(), e);
    }
  }

  private static boolean isHidden(Path relative) {
    for (Path part : relative) {
      if (part.toString().startsWith(".")) {
        return true;
      }
    }
    return false;
  }
}
