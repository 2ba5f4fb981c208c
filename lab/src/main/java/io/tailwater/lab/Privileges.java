package io.tailwater.lab;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/// What this process may do and which programs are there. Any thread; blocks for a moment the first
/// time, when it tries to make a network namespace.
public final class Privileges {
  private static final List<String> MORE_FOLDERS =
      List.of("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin");

  private Privileges() {}

  /// Why namespaces cannot be built here: one sentence for each thing that is missing, empty when
  /// all is there. `ip` and `iptables` are always asked for, `commands` are further programs.
  public static List<String> missing(String... commands) {
    List<String> missing = new ArrayList<>();
    if (!isRoot()) {
      missing.add("not root");
    }
    Stream.concat(Stream.of("ip", "iptables"), Stream.of(commands))
        .filter(command -> find(command).isEmpty())
        .map(command -> "no `" + command + "` on the PATH")
        .forEach(missing::add);
    if (missing.isEmpty() && !Namespaces.ALLOWED) {
      missing.add("network namespaces cannot be made (CAP_SYS_ADMIN)");
    }
    return List.copyOf(missing);
  }

  /// Whether what is missing must fail a test rather than skip it: on a build server, where
  /// CI=true.
  public static boolean mustBeThere() {
    return "true".equals(System.getenv("CI"));
  }

  /// Whether the effective user is root, as the kernel says.
  public static boolean isRoot() {
    try (Stream<String> lines = Files.lines(Path.of("/proc/self/status"))) {
      return lines
          .filter(line -> line.startsWith("Uid:"))
          .map(line -> line.split("\\s+", -1)[2])
          .anyMatch("0"::equals);
    } catch (IOException e) {
      return false;
    }
  }

  /// Where a program is: the PATH, then the folders of system programs, which a user's PATH may
  /// lack.
  public static Optional<Path> find(String command) {
    String path = Optional.ofNullable(System.getenv("PATH")).orElse("");
    return Stream.concat(Stream.of(path.split(":", -1)), MORE_FOLDERS.stream())
        .filter(folder -> folder.startsWith("/"))
        .map(folder -> Path.of(folder, command))
        .filter(Files::isExecutable)
        .findFirst();
  }

  /// Asked once in a process, on first use.
  private static final class Namespaces {
    static final boolean ALLOWED = mayUnshare();

    private static boolean mayUnshare() {
      try {
        Process process =
            new ProcessBuilder("unshare", "--net", "true")
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .start();
        if (!process.waitFor(10, TimeUnit.SECONDS)) {
          process.destroyForcibly();
          return false;
        }
        return process.exitValue() == 0;
      } catch (IOException e) {
        return false;
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return false;
      }
    }
  }
}
