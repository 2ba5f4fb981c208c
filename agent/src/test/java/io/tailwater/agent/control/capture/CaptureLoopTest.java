package io.tailwater.agent.control.capture;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.transport.EpollTransport;
import io.tailwater.agent.dataplane.transport.IoUringTransport;
import io.tailwater.agent.dataplane.transport.Transport;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.iptables.apply.CommandRunner;
import io.tailwater.iptables.apply.Processes;
import io.tailwater.iptables.apply.RuleBackend;
import io.tailwater.iptables.rule.CapturePlan;
import io.tailwater.iptables.rule.Drift;
import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.TcpServer;
import java.net.InetAddress;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Capture in real namespaces with real rules.
@NeedsRoot
@Timeout(120)
class CaptureLoopTest {
  private static final String WORLD_4 = "198.51.100.10";
  private static final String WORLD_6 = "2001:db8::10";
  private static final int PORT = 7000;

  private static Transport transport(String name) {
    if (name.equals("epoll")) {
      return new EpollTransport();
    }
    boolean usable = IoUringTransport.unavailable().isEmpty();
    assertThat(usable || !"true".equals(System.getenv("CI"))).isTrue();
    assumeTrue(usable, () -> "no io_uring here: " + IoUringTransport.unavailable());
    return new IoUringTransport();
  }

  @ParameterizedTest
  @ValueSource(strings = {"epoll", "io_uring"})
  void aPodIsCapturedInBothFamiliesAndKeepsItsAddress(String transport) throws Exception {
    try (CaptureRig rig = new CaptureRig(transport(transport))) {
      Place pod = rig.lab.addPod("ratings");
      Place world = rig.lab.addHost("world", WORLD_4, WORLD_6);
      try (TcpServer server =
          TcpServer.start(rig.lab, world, Map.of(PORT, TcpServer.Behaviour.ECHO))) {
        rig.capture(pod);
        assertThat(rig.status("ratings").ipv6()).isEqualTo("captured");
        assertThat(rig.status("ratings").pod().ips())
            .contains(InetAddress.ofLiteral(pod.v4()), InetAddress.ofLiteral(pod.v6()));

        assertThat(rig.echo(pod, WORLD_4, PORT).orThrow()).isEqualTo("hello\n");
        assertThat(rig.echo(pod, WORLD_6, PORT).orThrow()).isEqualTo("hello\n");
        CaptureRig.await(() -> "two ends: " + rig.seen, () -> rig.seen.size() >= 2);

        // One record each: the agent's own packets were not captured again.
        assertThat(rig.seen)
            .extracting(CaptureRig.Seen::dst)
            .containsExactlyInAnyOrder(
                new OriginalDst(InetAddress.ofLiteral(WORLD_4), PORT),
                new OriginalDst(InetAddress.ofLiteral(WORLD_6), PORT));
        CaptureRig.await(
            server::output,
            () -> server.output().lines().filter(l -> l.contains("ECHO")).count() >= 2);
        assertThat(server.output())
            .contains(pod.v4())
            .containsPattern(
                "fd00:10:244:(0:0:0:0)?:?" + pod.v6().substring(pod.v6().length() - 1));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"epoll", "io_uring"})
  void aDirectHitOnTheCapturePortIsRefused(String transport) throws Exception {
    try (CaptureRig rig = new CaptureRig(transport(transport))) {
      Place pod = rig.lab.addPod("ratings");
      rig.capture(pod);
      assertThat(rig.echo(pod, "127.0.0.1", CapturePlan.OUTBOUND_PORT).ok()).isFalse();
      assertThat(rig.echo(pod, pod.v4(), CapturePlan.OUTBOUND_PORT).ok()).isFalse();
      assertThat(rig.echo(pod, pod.v6(), CapturePlan.OUTBOUND_PORT).ok()).isFalse();
      CaptureRig.await(() -> "three ends: " + rig.seen, () -> rig.seen.size() == 3);
      assertThat(rig.seen)
          .extracting(CaptureRig.Seen::outcome)
          .containsOnly(new Outcome.Refused(Refusal.DIRECT_HIT, ""));
    }
  }

  @Test
  void aNamespaceThatIsMissingIsCapturedWhenItAppears() throws Exception {
    try (CaptureRig rig = new CaptureRig(new EpollTransport())) {
      Path later = Path.of("/run/netns", "tw-" + rig.lab.id() + "-late");
      rig.want("late", later);
      rig.awaitState("late", "pending");
      assertThat(rig.status("late").problem()).contains(later.toString());
      rig.lab.addPod("late");
      rig.awaitState("late", "captured");
      assertThat(rig.status("late").problem()).isEmpty();
    }
  }

  @Test
  void aNamespaceThatIsDeletedHarmsNoOtherAndIsFollowedWhenItComesBack() throws Exception {
    try (CaptureRig rig = new CaptureRig(new EpollTransport())) {
      Place stays = rig.lab.addPod("stays");
      Place goes = rig.lab.addPod("goes");
      Place world = rig.lab.addHost("world", WORLD_4);
      try (TcpServer _ = TcpServer.start(rig.lab, world, Map.of(PORT, TcpServer.Behaviour.ECHO))) {
        rig.capture(stays);
        rig.capture(goes);
        CaptureRig.run("ip", "netns", "del", goes.namespace());
        rig.awaitState("goes", "pending");
        assertThat(rig.status("goes").problem()).contains(goes.path().toString());
        assertThat(rig.echo(stays, WORLD_4, PORT).orThrow()).isEqualTo("hello\n");
        assertThat(rig.status("stays").state()).isEqualTo("captured");

        CaptureRig.run("ip", "netns", "add", goes.namespace());
        rig.awaitState("goes", "captured");
        assertThat(rig.drift(goes)).isNotInstanceOf(Drift.NotInstalled.class);
      }
    }
  }

  @Test
  void rulesThatWereFlushedByHandArePutBack() throws Exception {
    try (CaptureRig rig = new CaptureRig(new EpollTransport())) {
      Place pod = rig.lab.addPod("ratings");
      rig.capture(pod);
      assertThat(rig.drift(pod)).isInstanceOf(Drift.None.class);
      rig.lab.exec(pod, rig.tools.v4(), "-t", "nat", "-F").orThrow();
      CaptureRig.await(() -> "rules again", () -> rig.drift(pod) instanceof Drift.None);
      assertThat(rig.status("ratings").state()).isEqualTo("captured");
    }
  }

  @Test
  void aCapturePortThatIsTakenIsToldAndCapturedWhenItIsFree() throws Exception {
    try (CaptureRig rig = new CaptureRig(new EpollTransport())) {
      Place pod = rig.lab.addPod("ratings");
      try (TcpServer _ =
          TcpServer.start(
              rig.lab, pod, Map.of(CapturePlan.OUTBOUND_PORT, TcpServer.Behaviour.SINK))) {
        rig.want("ratings", pod.path());
        rig.awaitState("ratings", "failing");
        assertThat(rig.status("ratings").problem())
            .contains("15001")
            .containsIgnoringCase("in use");
        // No rules without a listener: the pod's traffic goes on.
        assertThat(rig.rules.verify(pod.path(), CapturePlan.egress()))
            .isInstanceOf(Drift.NotInstalled.class);
      }
      rig.awaitState("ratings", "captured");
    }
  }

  @Test
  void aPodThatIsWantedTwiceIsCapturedOnceAndLeavesNoResidue() throws Exception {
    try (CaptureRig rig = new CaptureRig(new EpollTransport())) {
      Place pod = rig.lab.addPod("ratings");
      Place world = rig.lab.addHost("world", WORLD_4);
      try (TcpServer _ = TcpServer.start(rig.lab, world, Map.of(PORT, TcpServer.Behaviour.ECHO))) {
        rig.capture(pod);
        rig.capture(pod);
        assertThat(rig.loop.status()).hasSize(1);
        assertThat(rig.echo(pod, WORLD_4, PORT).orThrow()).isEqualTo("hello\n");
        CaptureRig.await(() -> "one end", () -> rig.seen.size() == 1);

        rig.loop.leave(CaptureLoop.Leave.UNINSTALL);
        rig.loop.leave(CaptureLoop.Leave.UNINSTALL);
        assertThat(rig.rules.verify(pod.path(), CapturePlan.egress()))
            .isInstanceOf(Drift.NotInstalled.class);
        assertThat(rig.lab.exec(pod, "ss", "-Hltn").orThrow()).doesNotContain("15001");
        assertThat(rig.echo(pod, WORLD_4, PORT).orThrow()).isEqualTo("hello\n");
        assertThat(rig.seen).hasSize(1);
      }
    }
  }

  @Test
  void aChangedPodKeepsItsRulesAndIsServedUnderItsNewDescription() throws Exception {
    try (CaptureRig rig = new CaptureRig(new EpollTransport())) {
      Place pod = rig.lab.addPod("ratings");
      rig.capture(pod);
      rig.loop.accept(
          new PodEvent.Wanted(
              new PodSpec(
                  CaptureRig.ref("ratings"),
                  "other",
                  Map.of("app", "ratings"),
                  pod.path().toString(),
                  java.util.List.of())));
      rig.awaitState("ratings", "captured");
      assertThat(rig.status("ratings").pod().labels()).containsEntry("app", "ratings");
      assertThat(rig.drift(pod)).isInstanceOf(Drift.None.class);
    }
  }

  @Test
  void quicIsRefusedWherePolicyIsClosed() throws Exception {
    try (CaptureRig rig = new CaptureRig(new EpollTransport())) {
      Place pod = rig.lab.addPod("ratings");
      Place world = rig.lab.addHost("world", WORLD_4);
      // The world itself says nothing, so what is refused is refused in the pod.
      rig.lab.exec(world, rig.tools.v4(), "-A", "INPUT", "-p", "udp", "-j", "DROP").orThrow();
      rig.capture(pod);
      assertThat(refusesUdp(rig, pod, 443)).isFalse();
      rig.registryOnly(true);
      assertThat(refusesUdp(rig, pod, 443)).isTrue();
      assertThat(refusesUdp(rig, pod, 444)).isFalse();
      rig.registryOnly(false);
      assertThat(refusesUdp(rig, pod, 443)).isFalse();
    }
  }

  private static boolean refusesUdp(CaptureRig rig, Place pod, int port) {
    return !rig.lab
        .exec(
            pod,
            "bash",
            "-c",
            "exec 3>/dev/udp/" + WORLD_4 + "/" + port + "; echo a >&3; sleep 0.2; echo b >&3")
        .ok();
  }

  @Test
  void ipv6ThatCannotBeCapturedIsRefusedWherePolicyIsClosedAndOnlyThere() throws Exception {
    Processes real = new Processes();
    CommandRunner withoutNat6 =
        (inside, command, input, environment) ->
            command.stream()
                        .anyMatch(word -> word.startsWith("ip6tables") && word.endsWith("restore"))
                    && input.contains("*nat")
                ? new CommandRunner.Result(
                    3, "", "ip6tables-restore: unable to initialize table 'nat'")
                : real.run(inside, command, input, environment);
    try (CaptureRig rig = new CaptureRig(new EpollTransport(), withoutNat6)) {
      Place pod = rig.lab.addPod("ratings");
      Place world = rig.lab.addHost("world", WORLD_4, WORLD_6);
      try (TcpServer _ = TcpServer.start(rig.lab, world, Map.of(PORT, TcpServer.Behaviour.ECHO))) {
        rig.registryOnly(true);
        rig.capture(pod);
        assertThat(rig.status("ratings").ipv6()).isEqualTo("refused");
        assertThat(rig.echo(pod, WORLD_4, PORT).orThrow()).isEqualTo("hello\n");
        assertThat(rig.echo(pod, WORLD_6, PORT).ok()).isFalse();

        rig.registryOnly(false);
        assertThat(rig.status("ratings").ipv6()).isEqualTo("uncaptured");
        assertThat(rig.echo(pod, WORLD_6, PORT).orThrow()).isEqualTo("hello\n");

        rig.registryOnly(true);
        assertThat(rig.status("ratings").ipv6()).isEqualTo("refused");
        assertThat(rig.echo(pod, WORLD_6, PORT).ok()).isFalse();
      }
    }
  }

  @Test
  void closedPodIsShutOverIpv6WhereThereAreNoRulesForIt() throws Exception {
    try (CaptureRig rig = new CaptureRig(new EpollTransport(), withoutIp6tables())) {
      Place pod = rig.lab.addPod("ratings");
      Place world = rig.lab.addHost("world", WORLD_4, WORLD_6);
      try (TcpServer _ = TcpServer.start(rig.lab, world, Map.of(PORT, TcpServer.Behaviour.ECHO));
          TcpServer _ = TcpServer.start(rig.lab, pod, Map.of(PORT, TcpServer.Behaviour.ECHO))) {
        rig.registryOnly(true);
        rig.capture(pod);
        assertThat(rig.status("ratings").ipv6()).isEqualTo("blocked");
        assertThat(rig.echo(pod, WORLD_4, PORT).orThrow()).isEqualTo("hello\n");
        assertThat(rig.echo(pod, WORLD_6, PORT).ok()).isFalse();
        assertThat(rig.echo(pod, "::1", PORT).orThrow()).isEqualTo("hello\n");
        assertThat(rig.echo(pod, pod.v6(), PORT).orThrow()).isEqualTo("hello\n");

        rig.lab.exec(pod, "ip", "-6", "rule", "del", "pref", "1").orThrow();
        CaptureRig.await(() -> "blocked again", () -> !rig.echo(pod, WORLD_6, PORT).ok());

        rig.registryOnly(false);
        assertThat(rig.echo(pod, WORLD_6, PORT).orThrow()).isEqualTo("hello\n");

        rig.registryOnly(true);
        assertThat(rig.echo(pod, WORLD_6, PORT).ok()).isFalse();
        rig.loop.leave(CaptureLoop.Leave.UNINSTALL);
        assertThat(rig.lab.exec(pod, "ip", "-6", "rule").orThrow()).doesNotContain("prohibit");
      }
    }
  }

  @Test
  void openPodThatBecomesClosedIsShutOverIpv6Too() throws Exception {
    try (CaptureRig rig = new CaptureRig(new EpollTransport(), withoutIp6tables())) {
      Place pod = rig.lab.addPod("ratings");
      Place world = rig.lab.addHost("world", WORLD_4, WORLD_6);
      try (TcpServer _ = TcpServer.start(rig.lab, world, Map.of(PORT, TcpServer.Behaviour.ECHO))) {
        rig.capture(pod);
        assertThat(rig.status("ratings").ipv6()).isEqualTo("uncaptured");
        assertThat(rig.echo(pod, WORLD_6, PORT).orThrow()).isEqualTo("hello\n");

        rig.registryOnly(true);
        assertThat(rig.status("ratings").state()).isEqualTo("captured");
        assertThat(rig.status("ratings").ipv6()).isEqualTo("blocked");
        assertThat(rig.echo(pod, WORLD_6, PORT).ok()).isFalse();
        assertThat(rig.echo(pod, WORLD_4, PORT).orThrow()).isEqualTo("hello\n");
      }
    }
  }

  /// The program is there, but the kernel's part is not: no rule can be read or written.
  @Test
  void ip6tablesThatFailsLeavesIpv4CapturedAndClosedPodsShutUntilItWorks() throws Exception {
    Processes real = new Processes();
    AtomicBoolean broken = new AtomicBoolean(true);
    CommandRunner runner =
        (inside, command, input, environment) ->
            broken.get()
                    && !command.contains("--version")
                    && command.stream().anyMatch(word -> word.startsWith("ip6tables"))
                ? new CommandRunner.Result(3, "", "ip6tables: can't initialize table")
                : real.run(inside, command, input, environment);
    try (CaptureRig rig =
        new CaptureRig(
            new EpollTransport(),
            runner,
            Optional.of(RuleBackend.IPTABLES_NFT),
            CaptureRig.QUICK)) {
      Place pod = rig.lab.addPod("ratings");
      Place world = rig.lab.addHost("world", WORLD_4, WORLD_6);
      try (TcpServer _ = TcpServer.start(rig.lab, world, Map.of(PORT, TcpServer.Behaviour.ECHO))) {
        rig.capture(pod);
        assertThat(rig.status("ratings").ipv6()).isEqualTo("uncaptured");
        assertThat(rig.echo(pod, WORLD_6, PORT).orThrow()).isEqualTo("hello\n");
        assertThat(rig.seen).isEmpty();
        Thread.sleep(400); // longer than it takes until the rules are looked at
        assertThat(rig.status("ratings").state()).isEqualTo("captured");

        rig.registryOnly(true);
        assertThat(rig.status("ratings").ipv6()).isEqualTo("blocked");
        assertThat(rig.status("ratings").state()).isEqualTo("captured");
        assertThat(rig.echo(pod, WORLD_4, PORT).orThrow()).isEqualTo("hello\n");
        assertThat(rig.echo(pod, WORLD_6, PORT).ok()).isFalse();
        rig.lab.exec(pod, "iptables-nft", "-t", "nat", "-F").orThrow();
        CaptureRig.await(
            () -> "IPv4 is put back all the same",
            () ->
                rig.rules.withoutIpv6().verify(pod.path(), rig.inForce("ratings"))
                    instanceof Drift.None);

        broken.set(false);
        CaptureRig.await(
            () -> "captured: " + rig.status("ratings"),
            () -> rig.status("ratings").ipv6().equals("captured"));
        assertThat(rig.echo(pod, WORLD_6, PORT).orThrow()).isEqualTo("hello\n");
        assertThat(rig.lab.exec(pod, "ip", "-6", "rule").orThrow()).doesNotContain("prohibit");
        CaptureRig.await(() -> "both were seen: " + rig.seen, () -> rig.seen.size() == 2);

        broken.set(true); // what stands goes on capturing, but nobody can tell
        CaptureRig.await(
            () -> "blocked: " + rig.status("ratings"),
            () -> rig.status("ratings").ipv6().equals("blocked"));
        assertThat(rig.status("ratings").state()).isEqualTo("captured");
        assertThat(rig.echo(pod, WORLD_4, PORT).orThrow()).isEqualTo("hello\n");
        assertThat(rig.echo(pod, WORLD_6, PORT).ok()).isFalse();
        broken.set(false);
      }
    }
  }

  private static CommandRunner withoutIp6tables() {
    Processes real = new Processes();
    return (inside, command, input, environment) -> {
      if (command.stream().anyMatch(word -> word.startsWith("ip6tables"))) {
        throw new CommandRunner.CommandException("There is no program ip6tables", true);
      }
      return real.run(inside, command, input, environment);
    };
  }
}
