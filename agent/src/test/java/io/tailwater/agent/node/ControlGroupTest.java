package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// A process in a pod that has the agent's secret mark, by whatever means, and is not the agent:
/// where the agent has a control group of its own, rules ask for that too.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "nft", "python3"})
@Timeout(300)
class ControlGroupTest {
  /// Joins a group below the root of the hierarchy, which it mounts where only it can see it, and
  /// becomes another program.
  private static final String JOIN =
      """
      mount -t cgroup2 none /sys/fs/cgroup && mkdir -p "/sys/fs/cgroup/$0" \\
        && echo $$ > "/sys/fs/cgroup/$0/cgroup.procs" && exec "$@"
      """;

  /// Sends what carries a mark: MARK ADDRESS.
  private static final String MARKED =
      """
      import socket, struct, sys
      mark, address = int(sys.argv[1], 16), sys.argv[2]
      family = socket.AF_INET6 if ":" in address else socket.AF_INET
      for kind, send in ((socket.SOCK_STREAM, lambda s: s.connect((address, 443))),
                         (socket.SOCK_DGRAM, lambda s: s.sendto(b"out", (address, 999)))):
          with socket.socket(family, kind) as s:
              s.setsockopt(socket.SOL_SOCKET, 36, struct.pack("I", mark))
              s.settimeout(2)
              try:
                  send(s)
                  print("sent")
              except OSError as e:
                  print(e)
      """;

  private static final int PORT = 2525;
  private static final String OPEN = "mesh: {outboundTrafficPolicy: {mode: ALLOW_ANY}}\n";
  private static final String CLOSED =
      """
      mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
      egress: {addressFilter: {allow: [198.51.100.0/24]}}
      """;

  private static World world;
  private static Path policies;
  private static String folder;

  @BeforeAll
  static void build() throws IOException {
    assumeTrue(
        Files.readSymbolicLink(Path.of("/proc/self/ns/cgroup"))
            .toString()
            .equals("cgroup:[4026531835]"),
        "this machine is in a namespace of control groups");
    world = World.build();
    folder = "tailwater-test-" + ProcessHandle.current().pid();
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
    at(
        world.lab.place("decoy"),
        "nft 'table inet seen { chain every { type filter hook prerouting priority -300; iifname lo"
            + " accept; icmpv6 type { 133, 134, 135, 136, 143 } accept; ip6 daddr ff02::/16 accept;"
            + " meta nfproto { ipv4, ipv6 } counter; }; }'");
  }

  @AfterAll
  static void remove() {
    if (world != null) {
      // Groups go when nobody is in them, those below first.
      Place node = world.lab.node();
      world.lab.exec(
          node,
          "sh",
          "-c",
          "mount -t cgroup2 none /sys/fs/cgroup; find /sys/fs/cgroup/"
              + folder
              + " -depth -type d -exec rmdir {} \\;");
      world.close();
    }
  }

  private static String at(Place place, String command) {
    return world.lab.exec(place, "sh", "-c", command).orThrow();
  }

  private static List<String> in(String group) {
    return List.of("sh", "-c", JOIN, folder + "/" + group);
  }

  private static String arrived() {
    return at(
        world.lab.place("decoy"), "nft list chain inet seen every | grep -o 'packets [0-9]*'");
  }

  private static String mark(RunningAgent agent) throws IOException {
    String inode = at(world.ratings, "stat -Lc %i /proc/self/ns/net").strip();
    try (Stream<Path> files =
        Files.list(agent.configuration().resolveSibling("state").resolve("marks"))) {
      Path file =
          files
              .filter(f -> f.getFileName().toString().matches("[0-9a-f]+-" + inode))
              .findFirst()
              .get();
      return Files.readAllLines(file).getFirst();
    }
  }

  private static String marked(String mark, String address, List<String> wrapper) {
    List<String> command = new ArrayList<>(wrapper);
    command.addAll(List.of("python3", "-c", MARKED, mark, address));
    return world.lab.exec(world.ratings, Duration.ofSeconds(20), command).orThrow();
  }

  private static void reachesWhatIsAllowed(RunningAgent agent) {
    Result curl = world.curlViaDecoy(world.ratings, "en.wikipedia.org");
    assertThat(curl.stdout()).as(curl.stderr() + agent.log()).endsWith("200\n");
  }

  /// A pod that has not the secret gets no further where the mark alone counts.
  private static void guessesAreRefused(RunningAgent agent) throws IOException {
    String before = arrived();
    long near = Long.parseLong(mark(agent), 16) ^ 1;
    for (String guess : List.of("539", "1", "ffffffff", Long.toHexString(near))) {
      assertThat(marked(guess, World.DECOY, List.of())).doesNotContain("sent");
    }
    assertThat(arrived()).isEqualTo(before);
    agent.awaitAccess("reason=\"mark\"", World.DECOY + ":443");
    agent.awaitAccess("reason=\"mark\"", World.DECOY + ":999");
  }

  private static String knownBy(RunningAgent agent) {
    return agent.page("15000/pods?format=json").stdout();
  }

  @ParameterizedTest
  @ValueSource(strings = {"iptables-nft", "iptables-legacy", "nft"})
  void secretMarkIsWorthNothingOutsideTheAgentsGroup(String backend) throws Exception {
    try (RunningAgent agent =
        RunningAgent.launch(
                world,
                world.configuration(
                    policies, CLOSED + "capture: {backend: " + backend + ", udp: all}\n"),
                in("own/agent"))
            .awaitReady()) {
      assertThat(knownBy(agent))
          .contains("\"knownBy\": \"mark, control group " + folder + "/own/agent\"");
      reachesWhatIsAllowed(agent);
      Result verified =
          RunningAgent.once(
              world,
              world.lab.node(),
              in("verifier"), // for the mount: nft looks there for the agent's group
              "rules",
              "verify",
              "--netns",
              world.ratings.path().toString(),
              "--config",
              agent.configuration().toString());
      assertThat(verified.exit()).as(verified.toString()).isZero();
      if (backend.equals("nft")) {
        Result blind =
            RunningAgent.once(
                world,
                "rules",
                "verify",
                "--netns",
                world.ratings.path().toString(),
                "--config",
                agent.configuration().toString());
        assertThat(blind.exit()).as(blind.toString()).isEqualTo(3);
        assertThat(blind.stderr()).contains("control group " + folder + "/own/agent", "cgroup2");
      }
      String mark = mark(agent);
      String before = arrived();
      for (String address : List.of(World.DECOY, World.DECOY_6)) {
        for (List<String> wrapper :
            List.of(List.<String>of(), in("own"), in("own/pod"), in("a/b/c/d"))) {
          assertThat(marked(mark, address, wrapper)).doesNotContain("sent");
        }
      }
      assertThat(arrived()).isEqualTo(before);
      agent.awaitAccess("reason=\"mark\"", "src.workload=\"ratings-v1\"", World.DECOY + ":443");
      agent.awaitAccess("reason=\"mark\"", World.DECOY + ":999");

      // It is the group that made the difference: the same from within arrives.
      marked(mark, World.DECOY, in("own/agent"));
      assertThat(arrived()).isNotEqualTo(before);
      reachesWhatIsAllowed(agent);
    } finally {
      world.removeRules();
    }
  }

  @Test
  void openPodsKnowTheAgentByItsGroupToo() throws Exception {
    try (RunningAgent agent =
        RunningAgent.launch(world, world.configuration(policies, OPEN), in("own/open"))
            .awaitReady()) {
      reachesWhatIsAllowed(agent);
      String before = arrived();
      assertThat(marked(mark(agent), World.DECOY, List.of())).doesNotContain("sent");
      assertThat(arrived()).isEqualTo(before);
      agent.awaitAccess("reason=\"mark\"", World.DECOY + ":443");
    } finally {
      world.removeRules();
    }
  }

  @Test
  void agentsInGroupsOfTheirOwnFollowEachOtherUnnoticed() throws Exception {
    Path configuration = world.configuration(policies, CLOSED);
    List<RunningAgent> agents = new ArrayList<>();
    try (TcpServer _ = TcpServer.start(world.lab, world.web, Map.of(PORT, Behaviour.ECHO))) {
      agents.add(RunningAgent.launch(world, configuration, in("own/0")).awaitReady());
      assertThat(knownBy(agents.getFirst())).contains("control group " + folder + "/own/0");
      try (Load load = Load.start(world.ratings, World.v4("example.org"), PORT, 2, 4, 2)) {
        World.await(() -> "lines", () -> load.freshLines() > 50);
        for (int i = 1; i <= 3; i++) {
          RunningAgent before = agents.getLast();
          RunningAgent next = RunningAgent.launch(world, configuration, in("own/" + i));
          agents.add(next);
          next.process().awaitOutput("took over", Duration.ofSeconds(40));
          long lines = load.freshLines();
          World.await(() -> "more lines", () -> load.freshLines() > lines + 50);
          assertThat(load.freshFailures())
              .as(() -> "agent " + before.log() + next.log() + next.accessLines("error=").toList())
              .isEmpty();
          assertThat(load.keptFailures()).isEmpty();
        }
        assertThat(agents.getFirst().process().isAlive()).as("the first drains still").isTrue();
        assertThat(knownBy(agents.getLast())).contains("\"knownBy\": \"mark\"");
        guessesAreRefused(agents.getLast());
      }
      RunningAgent last = agents.getLast();
      for (RunningAgent before : agents.subList(0, 3)) {
        assertThat(before.process().awaitExit(Duration.ofSeconds(30))).isZero();
      }
      last.process().awaitOutput("of this one again", Duration.ofSeconds(40));
      World.await(
          () -> "known by its group again: " + knownBy(last) + last.log(),
          () -> knownBy(last).contains("\"mark, control group " + folder + "/own/3\""));
      assertThat(marked(mark(last), World.DECOY, List.of())).doesNotContain("sent");
      reachesWhatIsAllowed(last);
    } finally {
      agents.forEach(RunningAgent::close);
      world.removeRules();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"iptables-nft", "nft"})
  void groupThatIsMadeAnewUnderTheSameNameIsAnotherOne(String backend) {
    Path configuration =
        world.configuration(policies, CLOSED + "capture: {backend: " + backend + "}\n");
    try {
      for (int i = 0; i < 2; i++) {
        try (RunningAgent agent =
            RunningAgent.launch(world, configuration, in("again")).awaitReady()) {
          reachesWhatIsAllowed(agent);
          assertThat(knownBy(agent)).contains("control group " + folder + "/again");
          agent.process().signal("KILL"); // its rules stay
          agent.process().awaitExit(Duration.ofSeconds(10));
        }
        at(
            world.lab.node(),
            "mount -t cgroup2 none /sys/fs/cgroup; rmdir /sys/fs/cgroup/" + folder + "/again");
      }
    } finally {
      world.removeRules();
    }
  }

  @Test
  void markAloneHasToDoWhereTheGroupIsNotTheAgentsOwn() {
    Path configuration = world.configuration(policies, CLOSED);
    at(
        world.lab.node(),
        "mount -t cgroup2 none /sys/fs/cgroup; mkdir -p /sys/fs/cgroup/" + folder + "/wide/below");
    try {
      for (List<String> wrapper : List.of(List.<String>of(), in("wide"))) {
        try (RunningAgent agent = RunningAgent.launch(world, configuration, wrapper).awaitReady()) {
          assertThat(agent.log())
              .contains("rules know the agent by its secret mark alone: ")
              .contains(wrapper.isEmpty() ? "" : "there are groups below the agent's");
          assertThat(knownBy(agent)).contains("\"knownBy\": \"mark\"");
          reachesWhatIsAllowed(agent);
        }
      }
    } finally {
      world.removeRules();
    }
  }
}
