package io.tailwater.lab;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;

/// Runs one command to its end, bounded in time. Any thread; blocks.
final class Commands {
  private Commands() {}

  /// The result, whatever the exit status. A command that does not end in time is ended with its
  /// children.
  static Result run(Duration limit, List<String> command) {
    return run(Path.of(System.getProperty("java.io.tmpdir")), limit, command);
  }

  /// As above, with the outputs held in a folder of the caller's, which exists.
  static Result run(Path parent, Duration limit, List<String> command) {
    try {
      Path folder = Files.createTempDirectory(parent, "tw-run-");
      Path out = folder.resolve("out");
      Path err = folder.resolve("err");
      try {
        Process process =
            new ProcessBuilder(command)
                .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
                .redirectOutput(out.toFile())
                .redirectError(err.toFile())
                .start();
        if (!process.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS)) {
          process.descendants().forEach(ProcessHandle::destroyForcibly);
          process.destroyForcibly().waitFor(5, TimeUnit.SECONDS);
          throw new LabException(
              "no end within "
                  + limit
                  + ": "
                  + String.join(" ", command)
                  + "\n"
                  + text(out)
                  + text(err));
        }
        return new Result(process.exitValue(), text(out), text(err));
      } finally {
        Files.deleteIfExists(out);
        Files.deleteIfExists(err);
        Files.deleteIfExists(folder);
      }
    } catch (IOException e) {
      throw new LabException("cannot run " + String.join(" ", command), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new LabException("interrupted in " + String.join(" ", command), e);
    }
  }

  /// As [#run], but anything else than exit 0 is an error.
  static String must(Path parent, Duration limit, List<String> command) {
    Result result = run(parent, limit, command);
    if (!result.ok()) {
      throw new LabException(
          "exit "
              + result.exit()
              + " from "
              + String.join(" ", command)
              + ": "
              + result.stderr().strip());
    }
    return result.stdout();
  }

  private static String text(Path file) throws IOException {
    return new String(Files.readAllBytes(file), StandardCharsets.UTF_8);
  }
}
