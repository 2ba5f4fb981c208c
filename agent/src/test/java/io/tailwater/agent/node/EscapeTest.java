package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.Running;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Every way out of a captured pod that we know of, tried by a foreign program (`escape.py`) with
/// root's capabilities in the pod's namespace. Each attempt is recorded, and nothing arrives at its
/// destination: an address outside that counts whatever comes.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "nft", "python3"})
@Timeout(300)
class EscapeTest {
  private static final String SCRIPT =
      Path.of("src/test/python/escape.py").toAbsolutePath().toString();
  private static final Duration LIMIT = Duration.ofSeconds(60);

  /// The backends in the pods, and on the node where raw packets come by the rules as all others.
  /// One of each with the rules of the kernel pass, the others without.
  private static final String EVERYWHERE =
      """
      in-pod, iptables-nft, kernel
      in-pod, iptables-legacy, splice
      in-pod, nft, splice
      node, iptables-nft, kernel
      node, iptables-legacy, splice
      node, nft, splice
      """;

  private static final String THE_OTHER_WAY =
      """
      in-pod, iptables-nft, splice
      in-pod, iptables-legacy, kernel
      node, iptables-nft, splice
      node, iptables-legacy, kernel
      """;

  private static final String GONE = "gone";
  private static final String HALF_OPEN = "half-open";

  /// How, and the reasons that it is recorded with, in the pod and on the node. A false mark, a
  /// connection prepared on loopback and a packet socket are nothing special on the node: what
  /// comes out of the pod is captured, or refused for what it is. Two are captured there and leave
  /// nothing to refuse: clients that go without a word have a line in the access log each
  /// ([#GONE]), and who sends a SYN and does not go on is answered by the agent's kernel
  /// ([#HALF_OPEN]), which is all that ever was.
  private static final List<List<String>> ATTEMPTS =
      List.of(
          List.of("mark", "mark", "connection_closed"),
          List.of("mark6", "mark", "connection_closed"),
          List.of("mark-udp", "mark", "udp"),
          List.of("every-mark", "mark", GONE),
          List.of("prepare", "uncaptured", "connection_closed"),
          List.of("answer", "uncaptured", "connection_closed"),
          List.of("false-route", "uncaptured", "connection_closed"),
          List.of("fragments", "uncaptured", HALF_OPEN),
          List.of("flags", "uncaptured", "uncaptured"),
          List.of("raw", "uncaptured", "uncaptured"),
          List.of("extension-headers", "udp", "udp"),
          List.of("spoofed", "udp", "unknown_source"),
          List.of("icmp", "icmp", "icmp"),
          List.of("protocols", "protocol", "protocol"),
          List.of("udp", "udp", "udp"),
          List.of("udp6", "udp", "udp"),
          List.of("quic", "udp", "udp"),
          List.of("quic6", "udp", "udp"),
          List.of("other-dns", "udp", "udp"),
          List.of("frames", "packet_socket", "udp"),
          List.of("connect", "connection_closed", "connection_closed"),
          List.of("connect6", "connection_closed", "connection_closed"),
          List.of("fast-open", "connection_closed", "connection_closed"),
          List.of("metadata", "connection_closed", "connection_closed"),
          List.of("metadata6", "connection_closed", "connection_closed"));

  private static final int MARKS = 36;

  private static World world;
  private static Place outside;

  @BeforeAll
  static void build() {
    world = World.build();
    outside = world.lab.place("decoy");
    // Neighbour discovery is the network's, not the pod's.
    at(
        outside,
        "nft 'table inet seen { chain every { type filter hook prerouting priority -300;"
            + " iifname lo accept; icmpv6 type { 133, 134, 135, 136, 143 } accept; ip6 daddr"
            + " ff02::/16 accept; meta nfproto { ipv4, ipv6 } counter; }; }'");
  }

  @AfterAll
  static void remove() {
    if (world != null) {
      world.close();
    }
  }

  private static Result at(Place place, String command) {
    Result result = world.lab.exec(place, "sh", "-c", command);
    assertThat(result.ok()).as(command + ": " + result.stderr()).isTrue();
    return result;
  }

  private static List<String> escape(String how) {
    Place pod = world.ratings;
    return List.of("python3", SCRIPT, how, pod.v4(), pod.v6(), World.DECOY, World.DECOY_6);
  }

  private static Result attempt(String how) {
    return world.lab.exec(world.ratings, LIMIT, escape(how));
  }

  private static String arrived() {
    return at(outside, "nft list chain inet seen every | grep -o 'packets [0-9]*'").stdout();
  }

  private static RunningAgent start(String backend, String policy, String udp) {
    return start("in-pod", backend, "auto", policy, udp);
  }

  private static RunningAgent start(
      String mode, String backend, String relay, String policy, String udp) {
    return RunningAgent.start(
        world,
        world.configuration(
            world.policies(MainJobTest.POLICIES),
            "mesh: {outboundTrafficPolicy: {mode: "
                + policy
                + "}}\nrelay: "
                + relay
                + "\ncapture: {mode: "
                + mode
                + ", backend: "
                + backend
                + ", udp: "
                + udp
                + "}\n"));
  }

  private static void stop(RunningAgent agent) {
    RunningAgent.once(world, "drain", "--uninstall");
    agent.close();
    RunningAgent.once(world, "rules", "remove", "--mode", "node");
    world.removeRules();
  }

  private static boolean denied(RunningAgent agent, String reason, long more) {
    return denials(agent, reason) > more;
  }

  /// How much there is to see of such attempts until now.
  ///
  /// @param said by the program that tried
  private static long told(RunningAgent agent, String reason, String said) {
    return switch (reason) {
      case GONE -> agent.accessLines("original_dst=" + World.DECOY + ":443").count();
      case HALF_OPEN -> said.contains("answered") ? 1 : 0;
      default -> denials(agent, reason);
    };
  }

  private static long denials(RunningAgent agent, String reason) {
    return number(agent, "tailwater_denials_total{namespace=\"default\",reason=\"" + reason + "\"");
  }

  private static long number(RunningAgent agent, String metric) {
    return agent
        .page("15020/metrics")
        .stdout()
        .lines()
        .filter(line -> line.startsWith(metric))
        .mapToLong(line -> (long) Double.parseDouble(line.substring(line.lastIndexOf(' ') + 1)))
        .sum();
  }

  private static void reachesWhatIsAllowed() {
    Result curl = world.curlViaDecoy(world.ratings, "en.wikipedia.org");
    assertThat(curl.stdout()).as(curl.stderr()).endsWith("200\n");
  }

  @Tag("long")
  @ParameterizedTest
  @CsvSource(textBlock = THE_OTHER_WAY)
  void noAttemptArrivesTheOtherWayEither(String mode, String backend, String relay) {
    noAttemptArrivesAndEachIsRecorded(mode, backend, relay);
  }

  @ParameterizedTest
  @CsvSource(textBlock = EVERYWHERE)
  void noAttemptArrivesAndEachIsRecorded(String mode, String backend, String relay) {
    boolean inPod = mode.equals("in-pod");
    RunningAgent agent = start(mode, backend, relay, "REGISTRY_ONLY", "all");
    try {
      reachesWhatIsAllowed(); // and finds the gateway's address, which frames need
      assertThat(agent.page("15000/pods?format=json").stdout())
          .contains(inPod ? "\"guard\": \"on\"" : "\"state\": \"captured\"")
          .contains("\"grade\": \"" + (relay.equals("kernel") ? relay : "") + "\"");
      String before = arrived();
      List<String> unseen = new ArrayList<>();
      for (List<String> attempt : ATTEMPTS) {
        String reason = attempt.get(inPod ? 1 : 2);
        long known = told(agent, reason, "");
        Result result = attempt(attempt.getFirst());
        assertThat(arrived())
            .as("%s: %s", attempt, result.stdout() + result.stderr())
            .isEqualTo(before);
        long wanted = known + (reason.equals(GONE) ? MARKS : 1);
        long deadline = System.nanoTime() + Duration.ofSeconds(6).toNanos();
        while (told(agent, reason, result.stdout()) < wanted && System.nanoTime() < deadline) {
          Thread.onSpinWait();
        }
        if (told(agent, reason, result.stdout()) < wanted) {
          unseen.add(attempt + ": " + result.stdout() + result.stderr());
        }
      }
      assertThat(unseen).isEmpty();
      for (String captured : List.of("dns", "dns-tcp")) {
        attempt(captured);
        assertThat(arrived()).as(captured).isEqualTo(before);
      }
      // The access log tells ten refusals a minute for each pod and address; these were the first.
      if (inPod) {
        agent.awaitAccess("reason=\"mark\"", "src.workload=\"ratings-v1\"", World.DECOY + ":443");
      }
      assertThat(agent.page("15000/denials").stdout())
          .contains("uncaptured", "protocol", "icmp", "udp")
          .contains(inPod ? List.of("packet_socket", "mark") : List.of("unknown_source"));
      reachesWhatIsAllowed();
    } finally {
      stop(agent);
    }
  }

  /// Also one that comes right after another from the same port: what became of that is not
  /// remembered in its place.
  @ParameterizedTest
  @ValueSource(strings = {"iptables-nft", "iptables-legacy", "nft"})
  void attemptThatIsMadeAgainIsRecordedAgain(String backend) {
    RunningAgent agent = start(backend, "REGISTRY_ONLY", "all");
    try {
      for (int time = 1; time <= 3; time++) {
        long known = denials(agent, "uncaptured");
        attempt("prepare");
        World.await(
            () -> "recorded\n" + agent.accessLog(), () -> denied(agent, "uncaptured", known));
      }
    } finally {
      stop(agent);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"in-pod", "node"})
  void agentsOwnPortsAreNotReachedFromThePod(String mode) {
    RunningAgent agent = start(mode, "auto", "auto", "REGISTRY_ONLY", "all");
    try {
      String node =
          world
              .lab
              .exec(world.ratings, "sh", "-c", "ip route show default | cut -d' ' -f3")
              .stdout()
              .strip();
      for (String port : List.of("15000", "15020", "15021")) {
        Result curl = world.curl(world.ratings, "http://" + node + ":" + port + "/");
        assertThat(curl.stdout()).as(port).doesNotContain("200");
        Result local = world.curl(world.ratings, "http://127.0.0.1:" + port + "/");
        assertThat(local.exit()).as("nobody listens on " + port + " in the pod").isEqualTo(7);
      }
      Result direct = world.curl(world.ratings, "http://127.0.0.1:15001/");
      assertThat(direct.ok()).isFalse();
      if (mode.equals("in-pod")) {
        agent.awaitAccess("reason=\"direct_hit\"");
      } else {
        Result dialled = world.curl(world.ratings, "http://" + node + ":15001/");
        assertThat(dialled.ok()).isFalse();
        agent.awaitAccess("connection_closed", node + ":15001");
      }
    } finally {
      stop(agent);
    }
  }

  @Test
  void markCannotBeReadFromPackets() throws Exception {
    RunningAgent agent = start("iptables-nft", "REGISTRY_ONLY", "all");
    try {
      Running reader = world.lab.start(world.ratings, escape("read-mark").toArray(String[]::new));
      reader.awaitOutput("listening", LIMIT);
      for (int i = 0; i < 5; i++) {
        reachesWhatIsAllowed();
      }
      reader.awaitOutput("read ", LIMIT);
      assertThat(reader.output()).contains("read 0x0");
      try (Stream<Path> files =
          Files.list(agent.configuration().resolveSibling("state").resolve("marks"))) {
        List<Path> marks = files.toList();
        assertThat(marks).hasSize(2);
        for (Path mark : marks) {
          assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(mark)))
              .isEqualTo("rw-------");
        }
      }
    } finally {
      stop(agent);
    }
  }

  @Test
  void guessedMarkIsReplacedAndLiveConnectionsGoOn() throws Exception {
    RunningAgent agent = start("iptables-nft", "ALLOW_ANY", "auto");
    try (TcpServer _ = TcpServer.start(world.lab, world.web, Map.of(2525, Behaviour.ECHO));
        Load load = Load.start(world.ratings, World.v4("example.org"), 2525, 4, 2, 5)) {
      World.await(() -> "lines", () -> load.keptLines() > 50 && load.freshLines() > 20);
      String rules = marksInForce();
      Running flood = world.lab.start(world.ratings, escape("flood").toArray(String[]::new));
      long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
      while (number(agent, "tailwater_mark_replacements_total") == 0
          && System.nanoTime() < deadline) {
        Thread.sleep(200);
      }
      assertThat(number(agent, "tailwater_mark_replacements_total"))
          .as(agent.log() + agent.page("15020/metrics").stdout() + flood.output())
          .isPositive();
      World.await(
          () -> "another mark only: " + marksInForce() + " was " + rules,
          () -> !marksInForce().contains(rules) && marksInForce().lines().count() == 1);
      flood.signal("TERM");
      assertThat(number(agent, "tailwater_wrong_marks_total{outcome=\"captured\""))
          .isGreaterThan(1000);
      long kept = load.keptLines();
      long fresh = load.freshLines();
      World.await(
          () -> "more lines", () -> load.keptLines() > kept + 50 && load.freshLines() > fresh + 20);
      assertThat(load.keptFailures()).isEmpty();
      assertThat(load.freshFailures())
          .as(() -> agent.log() + agent.accessLines(":2525", "error=").toList())
          .isEmpty();
    } finally {
      stop(agent);
    }
  }

  /// The marks that nat lets past.
  private static String marksInForce() {
    return at(
            world.ratings,
            "iptables-nft-save -t nat | grep -o 'mark --mark 0x[0-9a-f]* -j RETURN' | cut -d' ' -f3"
                + " || true")
        .stdout()
        .strip();
  }

  @Test
  void openPodIsCapturedHoweverItPretends() {
    RunningAgent agent = start("iptables-nft", "ALLOW_ANY", "auto");
    try {
      for (String how : List.of("mark", "prepare", "false-route")) {
        long lines = agent.accessLines("original_dst=" + World.DECOY + ":443").count();
        attempt(how);
        World.await(
            () -> how + " is captured\n" + agent.accessLog(),
            () -> agent.accessLines("original_dst=" + World.DECOY + ":443").count() > lines);
      }
      World.await(
          () -> "counted",
          () -> number(agent, "tailwater_wrong_marks_total{outcome=\"captured\"") > 0);
      assertThat(denials(agent, "mark")).isZero();
    } finally {
      stop(agent);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"iptables-nft", "nft"})
  void openPodRefusesTcpThatNobodyRedirected(String backend) {
    RunningAgent agent = start(backend, "ALLOW_ANY", "auto");
    try {
      long known = denials(agent, "uncaptured");
      String before = arrived();
      // nat does not see what is not tracked.
      at(world.ratings, "iptables-nft -t raw -I OUTPUT -p tcp --dport 443 -j NOTRACK");
      try {
        attempt("connect");
        assertThat(arrived()).isEqualTo(before);
      } finally {
        at(world.ratings, "iptables-nft -t raw -D OUTPUT -p tcp --dport 443 -j NOTRACK");
      }
      World.await(() -> "recorded", () -> denied(agent, "uncaptured", known));
      reachesWhatIsAllowed();
    } finally {
      stop(agent);
    }
  }

  /// The pod as a router: what others send through it is not its own, so nothing redirects it.
  @ParameterizedTest
  @ValueSource(strings = {"iptables-nft", "iptables-legacy", "nft"})
  void whatThePodForwardsForOthersDoesNotLeave(String backend) {
    Place behind = world.lab.addPod("behind-" + backend);
    at(
        world.ratings,
        "ip link add fw0 type veth peer name fw1 netns "
            + behind.namespace()
            + " && ip addr add 10.99.0.1/24 dev fw0 && ip link set fw0 up"
            + " && sysctl -qw net.ipv4.ip_forward=1");
    at(
        behind,
        "ip link del eth0 && ip addr add 10.99.0.2/24 dev fw1 && ip link set fw1 up"
            + " && ip route add default via 10.99.0.1");
    String send = "bash -c 'echo out > /dev/udp/%s/9999'".formatted(World.DECOY);
    try {
      String free = arrived();
      at(behind, send);
      World.await(() -> "passes without an agent", () -> !arrived().equals(free));
      RunningAgent agent = start(backend, "REGISTRY_ONLY", "off");
      try {
        long known = denials(agent, "uncaptured");
        String before = arrived();
        at(behind, send);
        World.await(() -> "recorded\n" + agent.log(), () -> denied(agent, "uncaptured", known));
        assertThat(arrived()).isEqualTo(before);
      } finally {
        stop(agent);
      }
    } finally {
      at(world.ratings, "ip link del fw0; sysctl -qw net.ipv4.ip_forward=0");
    }
  }

  @Test
  void flushedRulesAndGuardAreBackBeforeLong() {
    RunningAgent agent = start("iptables-nft", "REGISTRY_ONLY", "all");
    try {
      reachesWhatIsAllowed();
      at(world.ratings, "nft flush ruleset");
      World.await(
          () -> "the guard again",
          () ->
              world
                  .lab
                  .exec(world.ratings, "nft", "list", "table", "netdev", "tailwater-guard")
                  .ok());
      World.await(() -> "the rules again", () -> !marksInForce().isEmpty());
      String before = arrived();
      for (String how : List.of("mark", "udp", "frames", "prepare")) {
        attempt(how);
        assertThat(arrived()).as(how).isEqualTo(before);
      }
      at(world.ratings, "ip link add late type veth peer name later && ip link set late up");
      World.await(
          () -> "the new interface is guarded",
          () ->
              world
                  .lab
                  .exec(world.ratings, "nft", "list", "table", "netdev", "tailwater-guard")
                  .stdout()
                  .contains("late"));
    } finally {
      stop(agent);
    }
  }
}
