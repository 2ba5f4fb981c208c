package io.tailwater.lab;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// `./tailwater` as far as it goes without a build.
class LauncherTest {
  private static final Path LAUNCHER = Path.of("..", "tailwater").toAbsolutePath().normalize();
  private static final List<String> COMMANDS =
      List.of(
          "demo",
          "verify",
          "perf",
          "run",
          "check",
          "explain",
          "test",
          "rules",
          "preflight",
          "clusters",
          "connections",
          "pods",
          "inventory",
          "denials",
          "generate",
          "log-level",
          "drain",
          "version");

  @Test
  void helpNamesEveryCommand() {
    Result result = launch("--help");

    assertThat(result.exit()).isZero();
    assertThat(result.stdout()).contains(COMMANDS);
  }

  @Test
  void anUnknownCommandIsBadUsage() {
    Result result = launch("no-such-command");

    assertThat(result.exit()).isEqualTo(2);
    assertThat(result.stderr()).contains("unknown command 'no-such-command'");
    assertThat(result.stdout()).isEmpty();
  }

  @Test
  void noCommandIsBadUsage() {
    assertThat(launch().exit()).isEqualTo(2);
  }

  @Test
  void anUnknownOptionOfDemoAndVerifyIsBadUsage() {
    assertThat(launch("demo", "--no-such-option").exit()).isEqualTo(2);
    assertThat(launch("verify", "--no-such-option").exit()).isEqualTo(2);
  }

  @Test
  void itWorksThroughASymbolicLink(@TempDir Path folder) throws IOException {
    Path link = Files.createSymbolicLink(folder.resolve("tw"), LAUNCHER);

    Result result =
        Commands.run(Duration.ofSeconds(20), List.of(link.toString(), "demo", "--help"));

    assertThat(result.exit()).isZero();
    assertThat(result.stdout()).contains("--keep");
  }

  @Test
  @NeedsRoot(commands = "unshare")
  void withoutAJdkItSaysWhereItLookedAndWhatToType() {
    // A mount namespace of its own, where the usual folders are empty.
    Result result =
        Commands.run(
            Duration.ofSeconds(20),
            List.of(
                "unshare",
                "--mount",
                "bash",
                "-c",
                "for d in /usr/lib/jvm /opt /usr/local; do [ ! -d $d ] || mount -t tmpfs none $d;"
                    + " done; PATH=/usr/bin:/bin HOME=/nowhere exec env -u JAVA_HOME \"$0\""
                    + " version",
                LAUNCHER.toString()));

    assertThat(result.exit()).isEqualTo(3);
    assertThat(result.stderr()).contains("/usr/lib/jvm/*").contains("Install one").contains("sudo");
  }

  private static Result launch(String... arguments) {
    List<String> command = new ArrayList<>(List.of(LAUNCHER.toString()));
    command.addAll(List.of(arguments));
    return Commands.run(Duration.ofSeconds(20), command);
  }
}
