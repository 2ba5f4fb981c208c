package io.tailwater.agent.control.capture;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.transport.EpollTransport;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// A folder of real namespaces, filled and emptied by hand.
@NeedsRoot
@Timeout(120)
class WatchedPodsTest {
  private static final Duration QUICK = Duration.ofMillis(50);

  @TempDir Path folder;

  private final BlockingQueue<PodEvent> events = new LinkedBlockingQueue<>();

  @AfterEach
  void unmount() throws Exception {
    try (var files = Files.list(folder)) {
      for (Path file : files.toList()) {
        new ProcessBuilder("umount", "-l", file.toString()).start().waitFor();
      }
    }
  }

  private Path mount(String name, Path namespace) throws Exception {
    Path file = folder.resolve(name);
    if (!Files.exists(file)) {
      Files.createFile(file);
    }
    CaptureRig.run("mount", "--bind", namespace.toString(), file.toString());
    return file;
  }

  private static void unmount(Path file) throws Exception {
    CaptureRig.run("umount", "-l", file.toString()); // as ip netns and runtimes do
  }

  private WatchedPods watch(List<PodSpec> listed) {
    return new WatchedPods(new PodFolder(folder, "default"), listed, QUICK);
  }

  private PodSpec pod(String name) {
    return new PodSpec(
        new PodRef("default", name),
        "default",
        Map.of(),
        folder.resolve(name).toString(),
        List.of());
  }

  @Test
  void halfMadeFileIsAPodOnceItIsANamespace() throws Exception {
    try (CaptureRig rig = new CaptureRig(new EpollTransport());
        WatchedPods watched = watch(List.of())) {
      Path there = rig.lab.addPod("there").path();
      mount("there", there);
      Files.createFile(folder.resolve("half"));
      watched.start(events::add);
      assertThat(events.poll()).isEqualTo(new PodEvent.Wanted(pod("there")));
      assertThat(events.poll(500, TimeUnit.MILLISECONDS)).isNull();

      mount("half", rig.lab.addPod("half").path());
      assertThat(events.poll(10, TimeUnit.SECONDS)).isEqualTo(new PodEvent.Wanted(pod("half")));

      unmount(folder.resolve("half"));
      assertThat(events.poll(10, TimeUnit.SECONDS))
          .isEqualTo(new PodEvent.Unwanted(new PodRef("default", "half")));
    }
  }

  @Test
  void ownNamespaceListedOnesAndImpossibleNamesAreNoPods() throws Exception {
    try (CaptureRig rig = new CaptureRig(new EpollTransport())) {
      Path namespace = rig.lab.addPod("some").path();
      mount("own", Path.of("/proc/self/ns/net"));
      mount("listed", namespace);
      mount("two words", namespace);
      mount("good", namespace);
      try (WatchedPods watched = watch(List.of(pod("listed")))) {
        watched.start(events::add);
      }
      assertThat(events).containsExactly(new PodEvent.Wanted(pod("good")));
    }
  }

  @Test
  void absentFolderHasNoPodsUntilItIsMade() throws Exception {
    Path later = folder.resolve("later");
    try (WatchedPods watched = new WatchedPods(new PodFolder(later, "default"), List.of(), QUICK)) {
      watched.start(events::add);
      assertThat(events).isEmpty();
    }
  }

  @Test
  void namespaceMadeAnewUnderTheSameNameIsCapturedAgain() throws Exception {
    try (CaptureRig rig = new CaptureRig(new EpollTransport());
        WatchedPods watched = watch(List.of())) {
      Place first = rig.lab.addPod("first");
      Place second = rig.lab.addPod("second");
      Path file = mount("pod", first.path());
      watched.start(rig.loop::accept);
      rig.awaitState("pod", "captured");
      assertThat(rig.rules.verify(first.path(), rig.inForce("pod"))).isInstanceOf(Drift.None.class);

      unmount(file);
      mount("pod", second.path());
      CaptureRig.await(
          () -> "the new namespace is captured",
          () -> rig.rules.verify(second.path(), rig.inForce("pod")) instanceof Drift.None);
      rig.awaitState("pod", "captured");
    }
  }

  @Test
  void removalReleasesThePod() throws Exception {
    try (CaptureRig rig = new CaptureRig(new EpollTransport());
        WatchedPods watched = watch(List.of())) {
      Place place = rig.lab.addPod("goes");
      Path file = mount("goes", place.path());
      watched.start(rig.loop::accept);
      rig.awaitState("goes", "captured");
      CapturePlan plan = rig.inForce("goes");
      assertThat(marks(rig)).hasSize(1);

      unmount(file);

      CaptureRig.await(() -> "no pod: " + rig.loop.status(), () -> rig.loop.status().isEmpty());
      assertThat(rig.lab.exec(place, "ss", "-Hltn").orThrow()).doesNotContain("15001");
      // The namespace lives on under another name: what is in it is not let out.
      assertThat(rig.rules.verify(place.path(), plan)).isInstanceOf(Drift.None.class);
      assertThat(marks(rig)).as("a pod that is gone leaves no file").isEmpty();
    }
  }

  private static List<Path> marks(CaptureRig rig) throws IOException {
    try (Stream<Path> files = Files.list(rig.lab.folder("state").resolve("marks"))) {
      return files.toList();
    }
  }
}
