package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.iptables.apply.CommandRunner.CommandException;
import io.tailwater.iptables.apply.CommandRunner.Result;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.lab.NeedsRoot;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;

class ProcessesTest {
  @Test
  void outputErrorStatusAndInputArePassed() {
    Result result =
        new Processes()
            .run(
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

  @NeedsRoot
  @Test
  void noProcessIsStartedFromInsideANamespace() {
    try (NetworkNamespace own = NetworkNamespace.current()) {
      assertThatThrownBy(() -> own.call(() -> new Processes().run(List.of("true"), "")))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("from inside a namespace");
    }
  }
}
