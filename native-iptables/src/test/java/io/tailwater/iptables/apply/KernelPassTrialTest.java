package io.tailwater.iptables.apply;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.apply.CommandRunner.Result;
import io.tailwater.iptables.apply.Preflight.Finding;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.lab.NeedsRoot;
import java.util.Optional;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// What this kernel can do, and what is said of one that cannot.
@NeedsRoot
class KernelPassTrialTest {
  private static final CommandRunner PROCESSES = new Processes();

  @BeforeAll
  static void warm() {
    NetworkNamespace.warmUp();
  }

  private static RulePrograms programs(RuleBackend backend) {
    return RulePrograms.detect(Optional.of(backend), PROCESSES);
  }

  @ParameterizedTest
  @EnumSource(
      value = RuleBackend.class,
      names = {"IPTABLES_NFT", "IPTABLES_LEGACY"})
  void nothingIsLackingWhereTheKernelHasEverything(RuleBackend backend) {
    KernelPassTrial trial = new KernelPassTrial(programs(backend), PROCESSES);

    assertThat(trial.findings())
        .extracting(Finding::what)
        .containsExactly(
            "kernel pass: NFQUEUE",
            "kernel pass: bpf match",
            "kernel pass: connmark",
            "kernel pass: hop limit",
            "kernel pass: set of addresses",
            "kernel pass: queue",
            "kernel pass: conntrack",
            "kernel pass: ending sockets");
    assertThat(trial.findings()).extracting(Finding::state).containsOnly(Finding.State.OK);
  }

  @Test
  void aKernelWithoutTheQueueOfNftIsSaidToBeOne() {
    CommandRunner without =
        (inside, command, input, environment) ->
            input.contains("queue to")
                ? new Result(1, "", "Error: Could not process rule: No such file or directory")
                : PROCESSES.run(inside, command, input, environment);
    KernelPassTrial trial = new KernelPassTrial(programs(RuleBackend.NFT), without);

    Finding queue = trial.findings().getFirst();
    assertThat(queue.state()).isEqualTo(Finding.State.WARNING);
    assertThat(queue.found()).contains("No such file");
    assertThat(queue.whatToDo()).contains("no_nft_queue", "iptables-nft");
  }

  @Test
  void aRuleThatTheKernelDoesNotKnowIsNamed() {
    CommandRunner without =
        (inside, command, input, environment) ->
            input.contains("--bytecode")
                ? new Result(2, "", "Couldn't load match `bpf'")
                : PROCESSES.run(inside, command, input, environment);
    KernelPassTrial trial = new KernelPassTrial(programs(RuleBackend.IPTABLES_NFT), without);

    assertThat(trial.findings().stream().filter(finding -> finding.state() != Finding.State.OK))
        .singleElement()
        .satisfies(finding -> {
          assertThat(finding.what()).isEqualTo("kernel pass: bpf match");
          assertThat(finding.found()).contains("Couldn't load");
          assertThat(finding.whatToDo()).contains("xt_bpf");
        });
  }
}
