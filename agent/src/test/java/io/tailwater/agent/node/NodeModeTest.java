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
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// What only capture in the node's namespace promises: nothing that a pod does in its own namespace
/// gets it out. That flows are the same as in pods is what [FlowMatrixTest] shows.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "python3"})
class NodeModeTest {
  private static final String CLOSED =
      "capture: {mode: node}\nmesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n";
  private static final String SITE = "en.wikipedia.org";

  private static World world;
  private static Path policies;

  @BeforeAll
  static void build() {
    world = World.build();
    policies = world.policies(MainJobTest.POLICIES);
  }

  @AfterAll
  static void remove() {
    if (world != null) {
      world.close();
    }
  }

  @AfterEach
  void nothingIsLeft() {
    Result removed =
        RunningAgent.once(
            world, "rules", "remove", "--mode", "node", "--netns", "/proc/self/ns/net");
    assertThat(removed.exit()).as(removed.stdout() + removed.stderr()).isZero();
    assertThat(nodeRules()).doesNotContain("TAILWATER").doesNotContain("tailwater");
    assertThat(routes()).doesNotContain("0x200");
  }

  private static String nodeRules() {
    return world
        .lab
        .exec(
            world.lab.node(),
            "sh",
            "-c",
            "iptables-nft-save; ip6tables-nft-save; iptables-legacy-save; nft list ruleset")
        .stdout();
  }

  private static String routes() {
    return world
        .lab
        .exec(
            world.lab.node(),
            "sh",
            "-c",
            "ip rule; ip -6 rule; ip route show table 133; ip -6 route show table 133; true")
        .stdout();
  }

  private static void arrives(RunningAgent agent, Place pod, String dialled) {
    Result curl = world.curlVia(pod, SITE, dialled);
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout()).contains("host=" + SITE).endsWith("200\n");
    assertThat(pod.addresses())
        .as("the server sees the pod itself")
        .contains(curl.stdout().replaceFirst("(?s).*client=(\\S+).*", "$1"));
  }

  private static void isRefused(Place pod, String site, String address) {
    // Without an agent some wait until there is one; curl's usual ten seconds would tell no more.
    Result curl = world.curlVia(pod, site, address, "-m", "4");
    assertThat(curl.exit()).as(curl.stdout() + curl.stderr()).isIn(7, 28, 35, 52, 56);
    assertThat(curl.stdout()).doesNotContain("host=");
  }

  @Test
  void drainWithUninstallUnderLoadLosesNoConnection() {
    String address = World.v4("example.org");
    try (TcpServer _ = TcpServer.start(world.lab, world.web, Map.of(2525, Behaviour.ECHO));
        RunningAgent agent =
            RunningAgent.start(world, world.configuration(policies, "capture: {mode: node}\n"));
        Load load = Load.start(world.ratings, address, 2525, 4, 2, 5)) {
      World.await(() -> "lines", () -> load.keptLines() > 100 && load.freshLines() > 50);
      assertThat(RunningAgent.once(world, "drain", "--uninstall").exit()).isZero();
      World.await(
          () -> "the rules are gone\n" + agent.log(), () -> !nodeRules().contains("TAILWATER"));
      long kept = load.keptLines();
      long fresh = load.freshLines();
      World.await(
          () -> "more lines" + load.keptFailures() + load.freshFailures(),
          () -> load.keptLines() > kept + 100 && load.freshLines() > fresh + 50);
      assertThat(load.keptFailures()).isEmpty();
      assertThat(load.freshFailures()).isEmpty();
    }
  }

  @Test
  void nothingThatThePodDoesInItsNamespaceLetsItOut() {
    try (RunningAgent agent = RunningAgent.start(world, world.configuration(policies, CLOSED))) {
      String address = World.v4("example.org");
      isRefused(world.ratings, "example.org", address);

      String tricks =
          """
          nft flush ruleset
          iptables-legacy -F; iptables-legacy -t nat -F; iptables-legacy -t mangle -F
          ip rule add fwmark 1337 lookup main pref 1
          ip rule add from all lookup main pref 2
          ip route replace 198.51.100.30/32 via 10.244.0.1 dev eth0 table main
          ip neigh flush all
          sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0
          """;
      world.lab.exec(world.ratings, "sh", "-c", tricks);
      isRefused(world.ratings, "example.org", address);
      isRefused(world.ratings, "example.org", World.v6("example.org"));
      for (String mark : List.of("0x539", "0x538", "0x200", "0x800", "0xffffffff")) {
        assertThat(connect(world.ratings, "", mark, address, 443))
            .as("with mark " + mark)
            .doesNotContain("ESCAPED");
      }
      arrives(agent, world.ratings, World.DECOY);
    }
  }

  @Test
  void aFalseSourceIsDroppedEvenIfItIsAnotherPodsOrRoutedBack() {
    try (RunningAgent agent = RunningAgent.start(world, world.configuration(policies, CLOSED))) {
      for (String source : List.of("10.244.0.77", world.reviews.v4())) {
        world.lab.exec(world.ratings, "ip", "addr", "add", source + "/32", "dev", "eth0");
        assertThat(connect(world.ratings, source, "0", World.v4(SITE), 443))
            .as("from " + source)
            .doesNotContain("ESCAPED")
            .contains("timed out");
        world.lab.exec(world.ratings, "ip", "addr", "del", source + "/32", "dev", "eth0");
      }
      agent.awaitAccess("unknown_source", "10.244.0.77");
      arrives(agent, world.ratings, World.DECOY);
    }
  }

  @Test
  void serversInPodsAnswerAndOtherPodsAreLeftAlone() {
    Place other = world.lab.addPod("other");
    TcpServer inPod = TcpServer.start(world.lab, world.reviews, Map.of(8080, Behaviour.BANNER));
    assertThat(inPod.process().isAlive()).isTrue();
    try (RunningAgent agent = RunningAgent.start(world, world.configuration(policies, CLOSED))) {
      for (Place client : List.of(other, world.web, world.lab.node())) {
        assertThat(world.greet(client, world.reviews.v4(), 8080).stdout())
            .as("from " + client.name())
            .contains("220 lab ready");
      }
      assertThat(world.curlVia(other, "example.org", World.v4("example.org")).stdout())
          .as("a pod that is not captured reaches everything")
          .contains("host=example.org");
      assertThat(world.greet(world.ratings, world.reviews.v4(), 8080).stdout())
          .as("a captured one only what its policy knows")
          .doesNotContain("220");
      assertThat(agent.awaitAccess("original_dst=" + world.reviews.v4() + ":8080"))
          .contains("connection_closed");
    }
  }

  @Test
  void podsReachEachOtherAndTheNodeThroughTheAgentWhereThePolicyIsOpen() {
    TcpServer inPod = TcpServer.start(world.lab, world.reviews, Map.of(8081, Behaviour.BANNER));
    TcpServer onNode = TcpServer.start(world.lab, world.lab.node(), Map.of(8082, Behaviour.BANNER));
    assertThat(inPod.process().isAlive() && onNode.process().isAlive()).isTrue();
    Path configuration = world.configuration(policies, "capture: {mode: node}\n");
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      assertThat(world.greet(world.ratings, world.reviews.v4(), 8081).stdout())
          .as(agent.log())
          .contains("220 lab ready");
      assertThat(world.greet(world.ratings, world.reviews.v6(), 8081).stdout())
          .as(agent.log())
          .contains("220 lab ready");
      assertThat(world.greet(world.ratings, "10.244.0.1", 8082).stdout())
          .as(agent.log())
          .contains("220 lab ready");
      World.await(inPod::output, () -> inPod.output().contains("/" + world.ratings.v4() + ":"));
      World.await(onNode::output, () -> onNode.output().contains("/" + world.ratings.v4() + ":"));
      agent.awaitAccess("original_dst=10.244.0.1:8082", "connection complete");
    }
  }

  @Test
  void anAgentThatEndsLeavesThePodsClosedAndTheNextOneTakesOver() {
    Path configuration = world.configuration(policies, CLOSED);
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      arrives(agent, world.ratings, World.DECOY);
      assertThat(agent.stop()).as(agent.log()).isZero();
    }
    assertThat(nodeRules()).contains("TPROXY --on-port 15001");
    isRefused(world.ratings, SITE, World.v4(SITE));

    try (RunningAgent next = RunningAgent.start(world, configuration)) {
      arrives(next, world.ratings, World.DECOY);
      next.process().signal("KILL");
      next.process().awaitExit(Duration.ofSeconds(10));
      isRefused(world.ratings, SITE, World.v4(SITE));
    }
    try (RunningAgent last = RunningAgent.start(world, configuration)) {
      arrives(last, world.ratings, World.DECOY);
    }
  }

  /// A path that turns out to be a namespace that is captured already, with other addresses.
  @Test
  void aSecondEntryForOneNamespaceFailsAloneAndTheOthersStayCaptured() throws Exception {
    Path configuration = world.configuration(policies, CLOSED);
    Path late = configuration.resolveSibling("late");
    String whole = Files.readString(configuration);
    Files.writeString(
        configuration,
        whole.replace(
            "pods:\n",
            "pods:\n  - {namespace: a, name: late, netns: %s, ips: [10.244.0.99]}\n"
                .formatted(late)));
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      arrives(agent, world.ratings, World.DECOY);
      Files.createSymbolicLink(late, world.ratings.path());
      World.await(
          () -> "the second entry fails: " + agent.page("15000/pods?format=json").stdout(),
          () ->
              agent
                  .page("15000/pods?format=json")
                  .stdout()
                  .contains("are those of default/ratings-v1, which is captured already"));
      world.lab.exec(world.lab.node(), "iptables-nft", "-t", "mangle", "-F").orThrow();
      World.await(
          () -> "the rules are brought anew",
          () -> nodeRules().contains("TPROXY --on-port 15001 --on-ip 127.0.0.1"));
      arrives(agent, world.ratings, World.DECOY);
      arrives(agent, world.reviews, World.DECOY);
      isRefused(world.ratings, "example.org", World.v4("example.org"));
    }
  }

  /// The second pod's namespace is not there when the next agent starts, nor is its policy known to
  /// be open. That is told by a file, or by the rules alone.
  @ParameterizedTest
  @CsvSource({"iptables-nft, kept", "nft, lost", "iptables-legacy, unreadable"})
  void aPodThatCannotBeEnrolledAfterARestartKeepsItsRulesUntilItCan(String backend, String file)
      throws Exception {
    keepsItsRulesUntilItIsEnrolled(backend, file);
  }

  @ParameterizedTest
  @Tag("long")
  @CsvSource({"nft, kept", "iptables-nft, lost"})
  void aPodThatCannotBeEnrolledKeepsItsRulesWithOtherBackends(String backend, String file)
      throws Exception {
    keepsItsRulesUntilItIsEnrolled(backend, file);
  }

  private static void keepsItsRulesUntilItIsEnrolled(String backend, String file) throws Exception {
    String mode = CLOSED.replace("mode: node", "mode: node, backend: " + backend);
    Path configuration = world.configuration(policies, mode);
    Path state = configuration.resolveSibling("state");
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      arrives(agent, world.reviews, World.DECOY);
      agent.process().signal("KILL");
      agent.process().awaitExit(Duration.ofSeconds(10));
    }
    String untold = "default/ratings-v1, other/reviews-v1";
    if (!file.equals("kept")) {
      untold = "?/veth1, ?/veth2";
      world.lab.exec(world.lab.node(), "rm", "-r", state.toString()).orThrow();
    }
    if (file.equals("unreadable")) {
      Files.createDirectories(state);
      Files.write(state.resolve("node-pods"), new byte[] {0, (byte) 0xff, 10, 1});
    }
    String whole = Files.readString(configuration);
    Files.writeString(
        configuration, whole.replace(world.reviews.path().toString(), "/run/netns/not-there-yet"));
    try (TcpServer _ = TcpServer.start(world.lab, world.web, Map.of(2525, Behaviour.BANNER));
        Running insisting = insisting(world.reviews, 2525);
        RunningAgent next = RunningAgent.start(world, configuration)) {
      assertThat(next.log()).contains("stay until their pods are captured: [" + untold + "]");
      arrives(next, world.ratings, World.DECOY);
      isRefused(world.reviews, "example.org", World.v4("example.org"));
      isRefused(world.reviews, "example.org", World.v6("example.org"));
      next.awaitAccess("unknown_source", world.reviews.v4());
      assertThat(insisting.output()).as("at no moment").contains("tried").doesNotContain("ESCAPED");
      assertThat(next.stop()).isZero();
    }
    Files.writeString(configuration, whole);
    try (RunningAgent last = RunningAgent.start(world, configuration)) {
      arrives(last, world.reviews, World.DECOY);
    }
  }

  /// Says ESCAPED whenever a server outside has greeted it, over either family.
  private static Running insisting(Place pod, int port) {
    String script =
        """
        import socket, sys
        print('tried', flush=True)
        while True:
          for address in sys.argv[2:]:
            s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
            s.settimeout(0.2)
            try:
              s.connect((address, int(sys.argv[1])))
              if s.recv(3): print('ESCAPED', address, flush=True)
            except OSError: pass
            s.close()
        """;
    return world.lab.start(
        pod,
        "python3",
        "-c",
        script,
        Integer.toString(port),
        World.v4("example.org"),
        World.v6("example.org"));
  }

  /// Whether rules go table by table, chain by chain or all at once, and the routes with them.
  @Test
  void rulesAndRoutesThatSomebodyTakesAwayAreBackAndNothingPassesMeanwhile() {
    try (TcpServer _ = TcpServer.start(world.lab, world.web, Map.of(2525, Behaviour.BANNER));
        RunningAgent agent = RunningAgent.start(world, world.configuration(policies, CLOSED));
        Running insisting = insisting(world.ratings, 2525)) {
      Place node = world.lab.node();
      List<String> rules = ours();
      String before = routes();
      World.await(insisting::output, () -> insisting.output().contains("tried"));
      world.lab.exec(node, "sh", "-c", "ip rule del pref 32; ip route flush table 133").orThrow();
      isRefused(world.ratings, "example.org", World.v4("example.org"));
      for (String flush :
          List.of(
              "iptables-nft -t mangle -F TAILWATER_PRERT",
              "iptables-nft -t mangle -F; ip6tables-nft -t mangle -F",
              "ip rule del pref 32; ip -6 rule del pref 32; iptables-nft -F; ip6tables-nft -F",
              "nft flush ruleset")) {
        world.lab.exec(node, "sh", "-c", flush).orThrow();
        arrives(agent, world.ratings, World.DECOY); // now or as soon as the rules are back
        World.await(
            () -> flush + ": put back\n" + agent.log() + nodeRules(),
            () -> ours().equals(rules) && routes().equals(before));
      }
      assertThat(insisting.output()).as("at no moment").doesNotContain("ESCAPED");
      agent.awaitAccess("uncaptured", world.ratings.v4());
    }
  }

  /// Every rule of ours, of both families.
  private static List<String> ours() {
    return nodeRules().lines().filter(line -> line.matches("-A .*TAILWATER.*")).sorted().toList();
  }

  @Test
  void strangersOnMatchingInterfacesAreRefusedAndPodsAreNot() {
    Place stranger = world.lab.addPod("stranger");
    // The lab's outside world has such names too, so the stranger's is given whole.
    String name =
        world
            .lab
            .exec(world.lab.node(), "ip", "-o", "route", "get", stranger.v4())
            .stdout()
            .replaceFirst("(?s).* dev (\\S+) .*", "$1");
    Path configuration =
        world.configuration(
            policies,
            CLOSED.replace("mode: node", "mode: node, interfaces: [veth1, veth2, " + name + "]"));
    try (RunningAgent agent = RunningAgent.start(world, configuration)) {
      assertThat(connect(stranger, "", "0", World.v4(SITE), 443)).contains("timed out");
      arrives(agent, world.ratings, World.DECOY); // its interface matches, too
      assertThat(agent.process().isAlive()).isTrue();
    }
  }

  /// Connects from an address, with a mark, and says what came of it.
  private static String connect(Place pod, String source, String mark, String address, int port) {
    String script =
        """
        import socket, sys
        s = socket.socket()
        s.settimeout(3)
        try:
          s.setsockopt(1, 36, int(sys.argv[2], 16) & 0xffffffff if int(sys.argv[2], 16) < 2**31 else int(sys.argv[2], 16) - 2**32)
          if sys.argv[1]: s.bind((sys.argv[1], 0))
          s.connect((sys.argv[3], int(sys.argv[4])))
          s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
          print('ESCAPED' if s.recv(100) else 'ended')
        except Exception as e:
          print(e)
        """;
    return world
        .lab
        .exec(pod, "python3", "-c", script, source, mark, address, Integer.toString(port))
        .stdout();
  }
}
