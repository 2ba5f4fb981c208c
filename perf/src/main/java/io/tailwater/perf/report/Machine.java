package io.tailwater.perf.report;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;

/// Where and when a run took place; no host name, which would say nothing to others.
public record Machine(
    String cpu,
    int cores,
    long memoryMb,
    String kernel,
    String java,
    String commit,
    double load,
    Instant when) {

  /// @param repository whose commit is named
  public static Machine read(Path repository) throws IOException {
    String cpu =
        Files.readAllLines(Path.of("/proc/cpuinfo")).stream()
            .filter(line -> line.startsWith("model name") || line.startsWith("CPU part"))
            .map(line -> line.substring(line.indexOf(':') + 1).strip())
            .findFirst()
            .orElse("unknown CPU");
    String total = Files.readAllLines(Path.of("/proc/meminfo")).getFirst().replaceAll("[^0-9]", "");
    String load = Files.readString(Path.of("/proc/loadavg")).split(" ", 2)[0];
    return new Machine(
        cpu,
        Runtime.getRuntime().availableProcessors(),
        Long.parseLong(total) / 1000,
        System.getProperty("os.name") + " " + System.getProperty("os.version"),
        Runtime.version().toString(),
        commit(repository),
        Double.parseDouble(load),
        Instant.now().truncatedTo(ChronoUnit.SECONDS));
  }

  private static String commit(Path repository) {
    try {
      Process git =
          new ProcessBuilder(
                  List.of("git", "-C", repository.toString(), "describe", "--always", "--dirty"))
              .redirectErrorStream(true)
              .start();
      String said = new String(git.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
      return git.waitFor() == 0 ? said : "unknown commit";
    } catch (IOException e) {
      return "unknown commit";
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return "unknown commit";
    }
  }

  public String sentence() {
    return "%d cores of %s, %.0f GB, %s, Java %s, commit %s, %s, load average before %.2f"
        .formatted(cores, cpu, memoryMb / 1000.0, kernel, java, commit, when, load);
  }
}
