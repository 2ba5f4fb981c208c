package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.iptables.apply.CommandRunner.CommandException;
import io.tailwater.iptables.apply.CommandRunner.Result;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.lab.NeedsRoot;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

class ProcessesTest {
  @Test
  void outputErrorStatusAndInputArePassed() {
    Result result =
        new Processes()
            .run(
                Optional.empty(),
                List.of("sh", "-c", "cat; echo bad >&2; echo \"$NAME\"; exit 3"),
                "in\n",
                List.of("NAME=value"));

    assertThat(result).isEqualTo(new Result(3, "in\nvalue\n", "bad\n"));
    assertThat(result.complaint()).isEqualTo("bad");
  }

  @Test
  void muchOutputOnBothSidesDoesNotBlock() {
    Result result =
        new Processes()
            .run(List.of("sh", "-c", "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero"), "");

    assertThat(result.output()).hasSize(300000);
    assertThat(result.error()).hasSize(300000);
  }

  @Test
  void programThatIgnoresItsInputIsNoFailure() {
    assertThat(new Processes().run(List.of("true"), "x".repeat(300000)).exit()).isZero();
  }

  @Test
  void absentProgramIsToldFromAFailingOne() {
    assertThatThrownBy(() -> new Processes().run(List.of("tw-no-such-program"), ""))
        .isInstanceOfSatisfying(CommandException.class, e -> assertThat(e.isAbsent()).isTrue())
        .hasMessageContaining("tw-no-such-program")
        .hasMessageContaining("/usr/sbin");
  }

  @Test
  void programThatDoesNotEndIsKilled() {
    assertThatThrownBy(
            () -> new Processes(Duration.ofMillis(200)).run(List.of("sleep", "3600"), ""))
        .isInstanceOfSatisfying(CommandException.class, e -> assertThat(e.isAbsent()).isFalse())
        .hasMessageContaining("did not end");
    assertThat(ProcessHandle.current().children().flatMap(child -> child.info().command().stream()))
        .noneMatch(command -> command.endsWith("/sleep"));
  }

  /// More than any pipe would take: whoever starts it is held up by its time alone.
  @Test
  void programThatNeverReadsItsInputIsKilledLikeAnyOther() {
    assertThatThrownBy(() ->
            new Processes(Duration.ofMillis(200))
                .run(List.of("sleep", "3601"), "x".repeat(4 << 20)))
        .isInstanceOf(CommandException.class)
        .hasMessageContaining("sleep 3601 did not end");
  }

  /// It ends, and what it has started goes on and holds all that it was given.
  @Test
  void whatAProgramLeavesBehindHoldsNobodyUp() {
    long begun = System.nanoTime();
    Result result =
        new Processes().run(List.of("sh", "-c", "sleep 30 & echo $!"), "x".repeat(4 << 20));

    assertThat(result.exit()).isZero();
    assertThat(Duration.ofNanos(System.nanoTime() - begun)).isLessThan(Duration.ofSeconds(15));
    ProcessHandle.of(Long.parseLong(result.output().strip()))
        .ifPresent(ProcessHandle::destroyForcibly);
  }

  @NeedsRoot
  @Test
  void noProcessIsStartedByAThreadThatIsInsideANamespace() {
    try (NetworkNamespace own = NetworkNamespace.current()) {
      assertThatThrownBy(() -> own.call(() -> new Processes().run(List.of("true"), "")))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("a thread that is at home");
    }
  }

  @NeedsRoot(commands = "ip")
  @Test
  void programRunsInTheNamespaceAndLeavesNoThreadOfOursThere() throws IOException {
    try (NetworkNamespace there = NetworkNamespace.fresh()) {
      Result result =
          new Processes()
              .run(
                  there, List.of("sh", "-c", "readlink /proc/self/ns/net; ip -o link show lo"), "");

      assertThat(result.output()).contains("net:[" + there.id().inode() + "]").contains("lo:");
      assertThat(result.output().lines()).hasSize(2);
      try (DirectoryStream<Path> threads = Files.newDirectoryStream(Path.of("/proc/self/task"))) {
        for (Path thread : threads) {
          assertThat(Files.readSymbolicLink(thread.resolve("ns/net")).toString())
              .doesNotContain(Long.toString(there.id().inode()));
        }
      }
    }
  }

  @Test
  void programFindsNoDescriptorsButItsOwn() throws IOException {
    try (var file = Files.newInputStream(Path.of("/dev/null"))) {
      Result result = new Processes().run(List.of("sh", "-c", "cd /proc/$$/fd && echo *"), "");

      assertThat(file).isNotNull();
      assertThat(result.output()).isIn("0 1 2 3\n", "0 1 2 3 4\n"); // 4 is the folder that it reads
    }
  }

  @Test
  void programThatASignalEndsHasAStatusThatSaysWhich() {
    assertThat(new Processes().run(List.of("sh", "-c", "kill -TERM $$"), "").exit())
        .isEqualTo(128 + 15);
  }

  @Test
  void whoeverIsInterruptedWhileItWaitsHearsOfIt() throws Exception {
    AtomicReference<Throwable> heard = new AtomicReference<>();
    Thread waiting =
        Thread.ofPlatform()
            .start(() -> {
              try {
                new Processes().run(List.of("sleep", "3600"), "");
              } catch (CommandException e) {
                heard.set(e);
              }
            });
    waiting.interrupt();
    waiting.join(10_000);

    assertThat(heard.get()).hasMessageContaining("interrupted");
  }

  @Test
  void manyAtOnceDoNotDisturbEachOther() throws Exception {
    List<Throwable> failures = new CopyOnWriteArrayList<>();
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      String name = "runner-" + i;
      threads.add(
          Thread.ofPlatform()
              .start(() -> {
                try {
                  for (int time = 0; time < 25; time++) {
                    String text = name + " " + time;
                    assertThat(new Processes().run(List.of("cat"), text).output()).isEqualTo(text);
                  }
                } catch (Throwable e) {
                  failures.add(e);
                }
              }));
    }
    for (Thread thread : threads) {
      thread.join();
    }

    assertThat(failures).isEmpty();
  }
}
