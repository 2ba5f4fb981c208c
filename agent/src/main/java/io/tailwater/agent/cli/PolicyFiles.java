package io.tailwater.agent.cli;

import io.tailwater.agent.control.source.FileResources;
import java.io.IOException;
import java.nio.file.FileVisitOption;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import picocli.CommandLine.Model.CommandSpec;

/// Finds the YAML and JSON files that a command was given: a file as it is, a folder with all below
/// it, hidden names left out.
final class PolicyFiles {
  private PolicyFiles() {}

  /// The files of all paths of a command, each once; empty where that is none or a path cannot be
  /// read, which the command has then said: exit 2.
  static Optional<List<Path>> of(CommandSpec command, List<Path> paths) {
    List<Path> files = new ArrayList<>();
    String wrong = "";
    try {
      for (Path path : paths) {
        files.addAll(below(path));
      }
    } catch (IOException e) {
      wrong = String.valueOf(e.getMessage());
    }
    if (wrong.isEmpty() && files.isEmpty()) {
      wrong =
          "no *.yaml, *.yml or *.json file below "
              + String.join(", ", paths.stream().map(Path::toString).toList());
    }
    if (!wrong.isEmpty()) {
      command.commandLine().getErr().println("tailwater " + command.name() + ": " + wrong);
      return Optional.empty();
    }
    return Optional.of(files.stream().distinct().toList());
  }

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
