package io.tailwater.agent.control.capture;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.transport.EpollTransport;
import io.tailwater.iptables.apply.Processes;
import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.lab.NeedsRoot;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// A whole node's pods at once. Prints how long it took.
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
        names.forEach(name -> rig.want(name, Path.of("/run/netns", name)));
        CaptureRig.run("ip", "netns", "del", names.removeLast());
        rig.loop.settled().join();
        Duration took = Duration.ofNanos(System.nanoTime() - begun);
        System.out.printf("%d pods captured in %d ms (%s)%n", PODS - 1, took.toMillis(), backend);

        assertThat(names).allMatch(name -> rig.status(name).state().equals("captured"));
        assertThat(took).isLessThan(Duration.ofSeconds(60)); // 10 s where nothing else runs
      } finally {
        rig.loop.leave(CaptureLoop.Leave.AS_CONFIGURED);
        for (String name : names) {
          CaptureRig.run("ip", "netns", "del", name);
        }
      }
    }
  }
}
