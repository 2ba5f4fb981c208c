package io.tailwater.agent.node;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Running;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// One agent takes over from another, and nobody who connects meanwhile notices.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
@Timeout(400)
class SuccessionTest {
  private static final int PORT = 2525;
  private static final String CLOSED =
      """
      mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
      egress: {addressFilter: {allow: [198.51.100.0/24]}}
      """;

  private static World world;
  private static Path policies;
  private static Place slow;

  @BeforeAll
  static void build() {
    world = World.build();
    slow = world.lab.addHost("slow", "198.51.100.54");
    policies =
        world.policies(
            MainJobTest.POLICIES
                + """
                ---
                apiVersion: networking.istio.io/v1
                kind: ServiceEntry
                metadata: {name: echo, namespace: default}
                spec:
                  hosts: [echo.example.org]
                  addresses: [ADDRESS]
                  ports: [{number: 2525, name: tcp, protocol: TCP}]
                  location: MESH_EXTERNAL
                  resolution: STATIC
                  endpoints: [{address: ADDRESS}]
                """
                    .replace("ADDRESS", World.v4("example.org")));
  }

  @AfterAll
  static void remove() {
    if (world != null) {
      world.close();
    }
  }

  /// Asks for the readiness page all the time.
  private static final class Prober implements AutoCloseable {
    final List<String> failures = Collections.synchronizedList(new ArrayList<>());
    final AtomicInteger good = new AtomicInteger();
    private volatile boolean over;
    private final NetworkNamespace node = NetworkNamespace.open(world.lab.node().path());
    private final Thread thread = Thread.ofPlatform().start(this::run);

    private void run() {
      while (!over) {
        try {
          String answer = ask();
          if (answer.startsWith("HTTP/1.1 200 ")) {
            good.incrementAndGet();
          } else {
            failures.add(answer);
          }
        } catch (IOException e) {
          failures.add(e.toString());
        }
        LockSupport.parkNanos(2_000_000);
      }
    }

    private String ask() throws IOException {
      try (SocketChannel channel = node.call(() -> SocketChannel.open())) {
        Socket socket = channel.socket();
        socket.connect(new InetSocketAddress(InetAddress.ofLiteral("127.0.0.1"), 15021), 5_000);
        socket.setSoTimeout(5_000);
        String question =
            "GET /healthz/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        socket.getOutputStream().write(question.getBytes(US_ASCII));
        return new String(socket.getInputStream().readAllBytes(), US_ASCII);
      }
    }

    @Override
    public void close() {
      over = true;
      try {
        thread.join(10_000);
      } catch (InterruptedException _) {
        Thread.currentThread().interrupt();
      }
      node.close();
    }
  }

  @ParameterizedTest
  @CsvSource({"in-pod, epoll, 20", "in-pod, io_uring, 5", "node, epoll, 20"})
  void restartsUnderLoadLoseNoConnection(String mode, String transport, int times)
      throws Exception {
    Path configuration =
        world.configuration(
            policies, CLOSED + "capture: {mode: " + mode + "}\ntransport: " + transport + "\n");
    List<RunningAgent> agents = new ArrayList<>();
    try (TcpServer _ = TcpServer.start(world.lab, world.web, Map.of(PORT, Behaviour.ECHO))) {
      agents.add(RunningAgent.start(world, configuration));
      try (Load load = Load.start(world.ratings, World.v4("example.org"), PORT, 0, 4, 2);
          Prober prober = new Prober()) {
        World.await(
            () -> "lines; " + load.freshFailures() + "\n" + agents.getFirst().accessLog(),
            () -> load.freshLines() > 50);
        for (int i = 1; i <= times; i++) {
          RunningAgent before = agents.getLast();
          RunningAgent next = RunningAgent.launch(world, configuration);
          agents.add(next);
          next.process().awaitOutput("took over", Duration.ofSeconds(40));
          assertThat(before.process().awaitExit(Duration.ofSeconds(20))).isZero();
          assertThat(before.log()).contains("another agent has taken over");
          long lines = load.freshLines();
          World.await(() -> "more lines", () -> load.freshLines() > lines + 20);
          assertThat(load.freshFailures()).as("restart " + i + "\n" + before.log()).isEmpty();
        }
        System.out.println(
            mode
                + ", "
                + transport
                + ": "
                + times
                + " restarts, "
                + load.freshLines()
                + " connections, "
                + load.freshFailures().size()
                + " errors; readiness asked "
                + prober.good.get()
                + " times, "
                + prober.failures.size()
                + " failures");
        assertThat(prober.failures).isEmpty();
      }
      assertThat(agents.getLast().stop()).isZero();
    } finally {
      agents.forEach(RunningAgent::close);
      removeRules();
    }
  }

  @Test
  void openConnectionsStayWithTheOldAgentAndItsInventoryIsNotLost() throws Exception {
    Path configuration = world.configuration(policies, CLOSED);
    try (TcpServer _ = TcpServer.start(world.lab, world.web, Map.of(PORT, Behaviour.ECHO));
        RunningAgent old = RunningAgent.start(world, configuration);
        PodSocket client = PodSocket.connect(world.ratings, World.v4("example.org"), PORT)) {
      client.send("before\n");
      assertThat(client.readLine(Duration.ofSeconds(10))).isEqualTo("before");
      try (RunningAgent next = RunningAgent.launch(world, configuration)) {
        next.process().awaitOutput("took over", Duration.ofSeconds(40));
        client.send("after\n");
        assertThat(client.readLine(Duration.ofSeconds(10))).isEqualTo("after");
        assertThat(old.process().isAlive()).isTrue();
        client.shutdownOutput();
        assertThat(old.process().awaitExit(Duration.ofSeconds(20))).isZero();
        assertThat(world.curlViaDecoy(world.ratings, "en.wikipedia.org").ok()).isTrue();
        assertThat(next.stop()).isZero();
      }
      String inventory = World.read(configuration.resolveSibling("state/inventory.json"));
      assertThat(inventory).contains(World.v4("example.org")).contains("en.wikipedia.org");
    } finally {
      world.removeRules();
    }
  }

  /// Two servers never stop talking, so that in most runs one speaks first after the capture.
  @ParameterizedTest
  @ValueSource(strings = {"in-pod", "node"})
  void whatBeganBeforeTheCaptureEndsAndWhatAnAgentHasTakenOrServersHaveDoesNot(String mode)
      throws Exception {
    Path configuration =
        world.configuration(policies, CLOSED + "relay: splice\ncapture: {mode: " + mode + "}\n");
    Duration soon = Duration.ofSeconds(10);
    AtomicBoolean over = new AtomicBoolean();
    try (PodServer outside = PodServer.listen(world.web, PORT);
        PodServer inside = PodServer.listen(world.ratings, 8080);
        PodSocket four = PodSocket.connect(world.ratings, World.v4("example.org"), PORT);
        PodServer.Session toFour = outside.accept();
        PodSocket six = PodSocket.connect(world.ratings, World.v6("example.org"), PORT);
        PodServer.Session toSix = outside.accept();
        PodSocket idle = PodSocket.connect(world.ratings, World.v4("example.org"), PORT);
        PodServer.Session toIdle = outside.accept();
        PodSocket client = PodSocket.connect(world.web, world.ratings.v4(), 8080);
        PodServer.Session served = inside.accept()) {
      Stream.of(toFour, toSix).forEach(server -> talk(server, over));
      try (RunningAgent old = RunningAgent.start(world, configuration)) {
        assertThat(List.of(four.end(soon), six.end(soon), idle.end(soon)))
            .as(old.log())
            .containsOnly(PodSocket.End.RESET);
        assertThat(old.log()).contains("from before its capture ended");
        assertThat(talk(toIdle, over).join(soon)).as("a server learns it when it speaks").isTrue();
        assertGoesOn(client, served);

        PodSocket relayed = PodSocket.connect(world.ratings, World.v4("example.org"), PORT);
        PodServer.Session toRelayed = outside.accept();
        assertGoesOn(relayed, toRelayed);
        try (RunningAgent next = RunningAgent.launch(world, configuration)) {
          next.process().awaitOutput("took over", Duration.ofSeconds(40));
          assertGoesOn(relayed, toRelayed);
          assertGoesOn(client, served);
          assertThat(next.log()).doesNotContain("from before its capture");
          relayed.close();
          toRelayed.close();
          assertThat(old.process().awaitExit(Duration.ofSeconds(20))).isZero();
          assertThat(next.stop()).isZero();
        }
      }
    } finally {
      over.set(true);
      removeRules();
    }
  }

  private static void assertGoesOn(PodSocket client, PodServer.Session server) {
    client.send("question\n");
    server.send("answer\n");
    assertThat(client.readLine(Duration.ofSeconds(10))).isEqualTo("answer");
  }

  private static Thread talk(PodServer.Session server, AtomicBoolean over) {
    return Thread.ofPlatform()
        .daemon()
        .start(() -> {
          try {
            while (!over.get()) {
              server.send("and so on\n");
              LockSupport.parkNanos(1_000_000);
            }
          } catch (UncheckedIOException _) {
            // the other side has ended it
          }
        });
  }

  @Test
  void killedAgentLeavesNothingInTheWayOfTheNext() {
    Path configuration = world.configuration(policies, CLOSED);
    Path socket = configuration.resolveSibling("state/agent.sock");
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      // It says that it is ready, and answers successors a moment later.
      World.await(() -> "its socket\n" + agent.log(), () -> Files.exists(socket));
      agent.process().signal("KILL");
      agent.process().awaitExit(Duration.ofSeconds(10));
      assertThat(socket).exists();
    }
    try (RunningAgent next = RunningAgent.start(world, configuration)) {
      assertThat(next.log()).doesNotContain("taking over");
      assertThat(world.curlViaDecoy(world.ratings, "en.wikipedia.org").ok()).isTrue();
    } finally {
      world.removeRules();
    }
  }

  @Test
  void successorThatDiesOnTheWayLeavesTheOldOneInCharge() throws Exception {
    Path configuration = world.configuration(policies, CLOSED);
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      RunningAgent next = RunningAgent.launch(world, configuration);
      next.process().awaitOutput("taking over from it", Duration.ofSeconds(40));
      next.process().signal("KILL");
      next.process().awaitExit(Duration.ofSeconds(10));
      World.await(
          () -> agent.log(),
          () -> agent.log().contains("going on") || agent.log().contains("has taken over"));
      assertThat(agent.log()).contains("the other agent went away; going on");
      assertThat(world.curlViaDecoy(world.ratings, "en.wikipedia.org").ok()).isTrue();
      world.lab.exec(world.ratings, "nft", "flush", "ruleset").orThrow();
      World.await(
          () -> "a repair\n" + agent.log(), () -> agent.log().contains("putting them back"));
      assertThat(agent.stop()).isZero();
    } finally {
      world.removeRules();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"in-pod", "node"})
  void whatTheKernelRefusesIsToldByTheNewAgentAtOnce(String mode) {
    Path configuration = world.configuration(policies, CLOSED + "capture: {mode: " + mode + "}\n");
    try (RunningAgent old = RunningAgent.start(world, configuration)) {
      assertThat(sendsQuic()).isTrue();
      old.awaitAccess("reason=\"udp\"", ":443");
      try (RunningAgent next = RunningAgent.launch(world, configuration)) {
        next.process().awaitOutput("took over", Duration.ofSeconds(40));
        assertThat(old.process().awaitExit(Duration.ofSeconds(20))).isZero();
        String metric = "tailwater_denials_total{namespace=\"default\",reason=\"udp\"";
        assertThat(next.page("15020/metrics").stdout()).doesNotContain(metric);
        assertThat(sendsQuic()).isTrue(); // one packet: nobody is told of it later
        World.await(
            () -> "told\n" + next.log(),
            () -> next.page("15020/metrics").stdout().contains(metric));
        assertThat(next.stop()).isZero();
      }
    } finally {
      removeRules();
    }
  }

  private static void removeRules() {
    world.removeRules();
    RunningAgent.once(
        world, "rules", "remove", "--mode", "node", "--netns", world.lab.node().path().toString());
  }

  private static boolean sendsQuic() {
    return world
        .lab
        .exec(world.ratings, "bash", "-c", "echo out > /dev/udp/" + World.DECOY + "/443; true")
        .ok();
  }

  /// Only one can hold them, and while nobody does a process of the pod can send by them past all
  /// rules. The sweep alone would take them some seconds later.
  @Test
  void queuesOfThePodsInterfacesAreHeldByTheNewAgentAtOnce() throws Exception {
    Path configuration = world.configuration(policies, CLOSED);
    try (RunningAgent old = RunningAgent.start(world, configuration)) {
      assertThat(sendsByRing()).isFalse();
      try (RunningAgent next = RunningAgent.launch(world, configuration)) {
        next.process().awaitOutput("took over", Duration.ofSeconds(40));
        // A program that the old one was just starting may hold a queue for a moment more.
        Thread.sleep(300);
        assertThat(sendsByRing()).as(next.log()).isFalse();
        assertThat(next.page("15000/pods?format=json").stdout()).contains("\"guard\": \"on\"");
        assertThat(next.stop()).isZero();
      }
      assertThat(old.process().awaitExit(Duration.ofSeconds(20))).isZero();
    } finally {
      world.removeRules();
    }
    assertThat(sendsByRing()).as("without an agent").isTrue();
  }

  private static boolean sendsByRing() {
    String frames = "../native-iptables/src/test/python/frames.py";
    return world
        .lab
        .exec(
            world.ratings,
            "python3",
            Path.of(frames).toAbsolutePath().normalize().toString(),
            "eth0",
            "02:00:00:00:00:01",
            world.ratings.v4(),
            World.DECOY,
            "xdp")
        .stdout()
        .contains("sent");
  }

  @ParameterizedTest
  @CsvSource({"in-pod, epoll", "in-pod, io_uring", "node, epoll"})
  void questionsThatWaitForASlowServerAreAnsweredByTheOldAgent(String mode, String transport) {
    Path configuration =
        world.configuration(
            policies,
            "dns: {servers: [198.51.100.54]}\ncapture: {mode: "
                + mode
                + "}\ntransport: "
                + transport
                + "\n");
    try (Running _ = python(slow, "slow_dns");
        RunningAgent old = RunningAgent.start(world, configuration);
        Running asker = python(world.ratings, "keep_asking")) {
      try (RunningAgent next = RunningAgent.launch(world, configuration)) {
        next.process().awaitOutput("took over", Duration.ofSeconds(40));
        assertThat(old.process().awaitExit(Duration.ofSeconds(20))).isZero();
        asker.signal("TERM");
        asker.awaitExit(Duration.ofSeconds(20));
        System.out.println(mode + ", " + transport + ": " + asker.output());
        assertThat(asker.output()).containsPattern("of \\d\\d+ unanswered \\[]");
        assertThat(next.stop()).isZero();
      }
    } finally {
      removeRules();
    }
  }

  private static Running python(Place place, String script) {
    Running running =
        world.lab.start(
            place,
            "python3",
            "-u",
            Path.of("src/test/python/" + script + ".py").toAbsolutePath().toString(),
            "198.51.100.54");
    running.awaitOutput(script.startsWith("slow") ? "ready" : "asking", Duration.ofSeconds(15));
    return running;
  }
}
