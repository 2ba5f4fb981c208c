package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Who may still dial from the pods beside the agent in charge. What drains is another process: a
/// lock of our own would not be in our way.
@Timeout(60)
class DrainingAgentsTest {
  private static final Duration LONGEST = Duration.ofMinutes(5);

  @TempDir Path stateDir;
  private long now = 42;
  private final List<Process> others = new ArrayList<>();

  @AfterEach
  void end() {
    others.forEach(Process::destroyForcibly);
  }

  private DrainingAgents inCharge() {
    return new DrainingAgents(stateDir, LONGEST, () -> now);
  }

  /// Another process that joins, says so, and stays until it is killed.
  private Process another() throws IOException {
    ProcessBuilder builder =
        new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xmx32m",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            System.getProperty("java.class.path"),
            Another.class.getName(),
            stateDir.toString());
    Process process = builder.redirectError(ProcessBuilder.Redirect.DISCARD).start();
    others.add(process);
    assertThat(process.inputReader().lines().anyMatch("joined"::equals)).isTrue();
    return process;
  }

  /// An agent that drains for ever.
  static final class Another {
    private Another() {}

    public static void main(String[] arguments) throws InterruptedException {
      try (DrainingAgents all = new DrainingAgents(Path.of(arguments[0]), LONGEST, () -> 0)) {
        all.join();
        System.out.println("joined");
        TimeUnit.MINUTES.sleep(1);
      }
    }
  }

  @Test
  void firstAgentOfAFolderIsAlone() {
    assertThat(inCharge().any()).isFalse();
  }

  @Test
  void agentIsAloneWhenAllThatDrainAreGoneHoweverTheyWent() throws Exception {
    Process first = another();
    Process second = another();
    DrainingAgents all = inCharge();
    all.expect();
    assertThat(all.any()).isTrue();
    first.destroyForcibly().waitFor();
    assertThat(all.any()).isTrue();
    second.destroyForcibly().waitFor();
    assertThat(all.any()).isFalse();
    assertThat(stateDir).isEmptyDirectory();
  }

  /// The one that it took over from was killed, and the folder was free: that one's own predecessor
  /// is there still.
  @Test
  void agentThatTookOverFromNobodyFindsWhoDrainsAllTheSame() throws Exception {
    Process first = another();
    DrainingAgents all = inCharge();
    assertThat(all.any()).isTrue();
    first.destroyForcibly().waitFor();
    assertThat(all.any()).isFalse();
  }

  @Test
  void agentThatHangsIsWaitedForNoLongerThanItMayDrain() throws Exception {
    another();
    DrainingAgents all = inCharge();
    all.expect();
    now += LONGEST.toNanos() - 1;
    assertThat(all.any()).isTrue();
    now += 1;
    assertThat(all.any()).isFalse();
    now -= 1; // never again
    assertThat(all.any()).isFalse();
  }

  @Test
  void agentThatLeavesNoTraceIsTakenToDrainAsLongAsItMay() {
    DrainingAgents all = inCharge();
    now += 7;
    all.expect();
    now += LONGEST.toNanos() - 1;
    assertThat(all.any()).isTrue();
    now += 1;
    assertThat(all.any()).isFalse();
  }

  @Test
  void traceOfAnAgentThatWasKilledIsNoObstacle() throws Exception {
    another().destroyForcibly().waitFor();
    assertThat(stateDir).isNotEmptyDirectory();
    DrainingAgents all = inCharge();
    all.expect();
    assertThat(all.any()).isFalse();
  }

  @Test
  void lockThatCannotBeLookedAtCountsAsHeldUntilTheTimeIsOver() throws Exception {
    Files.createDirectory(stateDir.resolve("draining.lock"));
    DrainingAgents all = inCharge();
    all.join(); // cannot, and says no more than that
    assertThat(all.any()).isTrue();
    now += LONGEST.toNanos();
    assertThat(all.any()).isFalse();
  }
}
