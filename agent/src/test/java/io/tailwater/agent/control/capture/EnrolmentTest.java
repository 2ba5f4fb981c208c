package io.tailwater.agent.control.capture;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.transport.EpollTransport;
import io.tailwater.iptables.apply.Processes;
import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.lab.NeedsRoot;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// A whole node's pods at once. Prints how long it took, and how much CPU with all the programs
/// that were run: that does not depend on what else runs.
@NeedsRoot
@Timeout(180)
class EnrolmentTest {
  private static final int PODS = 200;

  @ParameterizedTest
  @EnumSource(RuleBackend.class)
  void manyPodsAreCapturedTogetherAndOneThatGoesHarmsNoOther(RuleBackend backend) throws Exception {
    List<String> names = new ArrayList<>();
    try (CaptureRig rig =
        new CaptureRig(
            new EpollTransport(), new Processes(), Optional.of(backend), CapturePace.USUAL)) {
      try {
        for (int i = 0; i < PODS; i++) {
          String name = "tw-" + rig.lab.id() + "-many" + i;
          CaptureRig.run("ip", "netns", "add", name);
          names.add(name);
        }
        long begun = System.nanoTime();
        long cpuBegun = cpuMillis();
        names.forEach(name -> rig.want(name, Path.of("/run/netns", name)));
        CaptureRig.run("ip", "netns", "del", names.removeLast());
        rig.loop.settled().join();
        Duration took = Duration.ofNanos(System.nanoTime() - begun);
        long cpu = cpuMillis() - cpuBegun;
        System.out.printf(
            "%d pods captured in %d ms, %d ms of CPU (%s)%n",
            PODS - 1, took.toMillis(), cpu, backend);

        assertThat(names).allMatch(name -> rig.status(name).state().equals("captured"));
        assertThat(took).isLessThan(Duration.ofSeconds(60));
        assertThat(cpu).isLessThan(20_000); // two cores, which nobody else uses, for 10 s
      } finally {
        rig.loop.leave(CaptureLoop.Leave.AS_CONFIGURED);
        for (String name : names) {
          CaptureRig.run("ip", "netns", "del", name);
        }
      }
    }
  }

  /// This process's and its ended children's, in user and system mode.
  private static long cpuMillis() throws IOException {
    String[] words =
        Files.readString(Path.of("/proc/self/stat")).replaceAll(".*\\) ", "").split(" ");
    long ticks = 0;
    for (int i = 11; i <= 14; i++) {
      ticks += Long.parseLong(words[i]);
    }
    return ticks * 10; // USER_HZ is 100
  }
}
