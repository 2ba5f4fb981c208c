package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.DnsServer;
import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.Running;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/// The kernel pass as a pod's own programs meet it: `relay: kernel`, captured DNS, REGISTRY_ONLY.
/// The same wherever the rules stand.
@NeedsRoot(
    commands = {
      "nginx",
      "dnsmasq",
      "openssl",
      "curl",
      "nsenter",
      "iptables",
      "ipset",
      "python3",
      "ss"
    })
@Timeout(300)
abstract class KernelPassScenarios {
  private static final String EN = "en.wikipedia.org";
  private static final String DE = "de.wikipedia.org";
  private static final String BULK = "bulk.wikipedia.org";
  private static final String BULK_AT = "198.51.100.77";
  private static final Duration SOON = Duration.ofSeconds(20);
  private static final Duration LONG = Duration.ofMinutes(2);

  private final String mode;
  private World world;
  private Peers peers;
  private Place bulk;
  private Path policies;
  private Path configuration;
  private RunningAgent agent;

  /// @param mode the capture mode
  KernelPassScenarios(String mode) {
    this.mode = mode;
  }

  @BeforeEach
  void start() {
    world = World.build();
    peers = new Peers(world);
    Map<String, List<String>> records = new TreeMap<>(World.SITES);
    records.put(BULK, List.of(BULK_AT));
    bulk = world.lab.addHost("bulk", BULK_AT);
    Place host = world.lab.addHost("dns-2", "198.51.100.54");
    DnsServer.start(world.lab, host, Duration.ofSeconds(60), records);
    for (Place pod : List.of(world.ratings, world.reviews)) {
      world.lab.nameserver(pod, "203.0.113.99");
    }
    policies = world.policies(MainJobTest.POLICIES);
    configuration =
        world.configuration(
            policies,
            """
            mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
            dns: {servers: ["198.51.100.54:53"]}
            relay: kernel
            """
                + "capture: {mode: "
                + mode
                + "}\n");
    agent = RunningAgent.start(world, configuration);
  }

  @AfterEach
  void stop() {
    if (world != null) {
      world.close();
    }
  }

  private Result curl(String site, String... more) {
    return world.curl(world.ratings, "https://" + site + "/", more);
  }

  private void reached(Result curl) {
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout()).endsWith("200\n");
  }

  private static void isReset(Result curl) {
    assertThat(curl.exit()).as(curl.stdout() + curl.stderr()).isIn(35, 52, 56);
    assertThat(curl.stderr()).containsIgnoringCase("reset");
  }

  // -- released

  @ParameterizedTest
  @ValueSource(strings = {"-4", "-6"})
  void anAllowedNameGoesOutAsItself(String family) {
    Result curl = curl(EN, family);

    reached(curl);
    boolean six = family.equals("-6");
    assertThat(curl.stdout()).contains("client=" + (six ? world.ratings.v6() : world.ratings.v4()));
    assertThat(agent.awaitAccess("sni=\"" + EN + "\"", "connection complete"))
        .contains("grade=\"kernel\"")
        .contains("cluster=\"outbound|443||*.wikipedia.org\"")
        .contains("resolved_addr=" + (six ? "[" + World.v6(EN) + "]" : World.v4(EN)) + ":443")
        .contains("dns_name=\"" + EN + "\"")
        .doesNotContain(" bytes=");
    assertThat(agent.page("15000/clusters").stdout())
        .contains(
            "outbound|443||*.wikipedia.org::" + (six ? "[" + World.v6(EN) + "]" : World.v4(EN)));
  }

  @Test
  void bytesAreCountedToTheLast() {
    long bytes = 3_000_017;
    peers.serve(bulk, BULK_AT, bytes);
    Running client = peers.dial(world.ratings, BULK);
    client.awaitOutput(Peers.ended(bytes), SOON);
    String hello = client.output().lines().findFirst().orElseThrow().replace("hello ", "");

    assertThat(agent.awaitAccess("sni=\"" + BULK + "\"", "connection complete"))
        .contains("bytes_sent=" + hello + " ")
        .contains("bytes_recv=" + bytes + " ")
        .contains("grade=\"kernel\"")
        .doesNotContain(" bytes=");
    assertThat(agent.page("15020/metrics").stdout())
        .contains("tailwater_kernel_pass_released_total 1.0");
  }

  /// Bytes and milliseconds between.
  static Stream<Arguments> pieces() {
    return Stream.of(
        Arguments.of(11, 0),
        Arguments.of(11, 3),
        Arguments.of(1, 0),
        Arguments.of(100, 20),
        Arguments.of(200, 400));
  }

  @ParameterizedTest
  @MethodSource("pieces")
  void aHelloInManyPiecesArrivesWhole(int piece, int pause) {
    peers.serve(bulk, BULK_AT, 1000);
    Running client = peers.dial(world.ratings, BULK, BULK, piece, pause);

    client.awaitOutput(Peers.ended(1000), SOON);
    assertThat(agent.awaitAccess("sni=\"" + BULK + "\"", "connection complete"))
        .contains("bytes_sent=" + client.output().lines().findFirst().orElseThrow().substring(6))
        .contains("grade=\"kernel\"");
  }

  @Test
  void whatIsReleasedIsListed() {
    peers.serve(bulk, BULK_AT, 0);
    Running client = peers.dial(world.ratings, BULK);
    client.awaitOutput("progress", SOON);

    assertThat(agent.page("15000/connections").stdout())
        .containsPattern("default/ratings-v1 .*" + BULK + ".* kernel +released ");
    assertThat(agent.page("15000/pods").stdout())
        .containsPattern("default/ratings-v1 +captured .* kernel ");
    client.signal("KILL");
    agent.awaitAccess("sni=\"" + BULK + "\"", "connection complete");
    assertThat(agent.page("15000/connections").stdout()).doesNotContain(BULK);
  }

  // -- relayed and refused

  @Test
  void whatHasAnEndpointByAddressIsRelayed() {
    reached(curl("static.example.net", "-4"));

    assertThat(agent.awaitAccess("sni=\"static.example.net\"", "connection complete"))
        .contains("grade=\"splice\"");
  }

  @Test
  void whatWasNeverToldIsRelayedOnceAndThenKnown() {
    reached(world.curlVia(world.ratings, EN, World.v4(EN)));
    assertThat(agent.awaitAccess("sni=\"" + EN + "\"", "connection complete"))
        .contains("grade=\"splice\"");

    reached(world.curlVia(world.ratings, EN, World.v4(EN)));
    assertThat(agent.awaitAccess("sni=\"" + EN + "\"", "grade=\"kernel\""))
        .contains("resolved_addr=" + World.v4(EN) + ":443");

    // Neither other names there nor other addresses of the name are opened by that.
    isReset(world.curlVia(world.ratings, "example.org", World.v4(EN)));
    reached(world.curlVia(world.ratings, EN, World.DECOY));
    reached(world.curlVia(world.ratings, EN, World.DECOY));
    assertThat(releasable()).contains(World.v4(EN) + ",").doesNotContain(World.DECOY);
  }

  @Test
  void aNameThatNothingAllowsIsResetAtAReleasableAddress() {
    reached(curl(EN, "-4"));

    isReset(world.curlVia(world.ratings, "example.org", World.v4(EN)));

    assertThat(agent.awaitAccess("sni=\"example.org\"", "connection failed"))
        .contains("reason=\"connection_closed\"");
    assertThat(agent.page("15020/metrics").stdout())
        .contains("tailwater_kernel_pass_refused_total 1.0");
  }

  @Test
  void aNameThatIsNotAtHomeThereIsResetOnceAndThenRelayed() {
    reached(curl(EN, "-4"));

    isReset(world.curlVia(world.ratings, DE, World.v4(EN)));
    assertThat(agent.awaitAccess("sni=\"" + DE + "\"", "connection failed"))
        .contains("reason=\"released_address_mismatch\"");

    reached(world.curlVia(world.ratings, DE, World.v4(EN)));
    assertThat(agent.awaitAccess("sni=\"" + DE + "\"", "connection complete"))
        .contains("grade=\"splice\"")
        .containsAnyOf(
            "resolved_addr=" + World.v4(DE) + ":443", "resolved_addr=[" + World.v6(DE) + "]:443");
  }

  @Test
  void anotherPodsAddressesAreNotItsOwn() {
    reached(curl(EN, "-4"));

    Result other = world.curlVia(world.reviews, EN, World.v4(EN));
    reached(other);
    assertThat(agent.awaitAccess("src.workload=\"reviews-v1\"", "sni=\"" + EN + "\"", "complete"))
        .contains("grade=\"splice\"");
  }

  @Test
  void namesThatChangeTheirAddressesAllTheTimeLoseNoConnection() {
    int count = 10_000;
    Place many =
        world.lab.addHost(
            "many",
            IntStream.rangeClosed(1, 50).mapToObj(i -> "198.51.102." + i).toArray(String[]::new));
    peers.serve(many, "0.0.0.0", 1000);
    Place names = world.lab.addHost("dns-3", "198.51.100.55");
    peers.changingNames(names, "198.51.100.55");
    agent.stop();
    Path changing =
        World.write(
            configuration.resolveSibling("changing.yaml"),
            World.read(configuration)
                    .replace("[\"198.51.100.54:53\"]", "[\"198.51.100.55:53\"], minRefreshRate: 1s")
                + "limits: {dnsQueriesPerPodPerSecond: 10000}\n");
    agent = RunningAgent.start(world, changing);

    Running client = peers.rotate(world.ratings, count);
    client.awaitOutput("done", LONG);

    assertThat(client.output()).contains("done " + count + " 0");
    long released = counter("tailwater_kernel_pass_released_total");
    assertThat(counter("tailwater_kernel_pass_mismatched_total"))
        .as("of %d released", released)
        .isLessThanOrEqualTo(count / 1000);
    assertThat(released).isGreaterThan(count * 9 / 10);
    assertThat(agent.page("15020/metrics").stdout())
        .as("how connections end is no way out")
        .doesNotContain("reason=\"uncaptured\"");
  }

  /// An address changes from one name to another while a connection to it lives.
  final void addressChanges() {
    String cnn = "edition.cnn.com";
    Place names = world.lab.addHost("dns-3", "198.51.100.55");
    DnsServer changing =
        DnsServer.start(world.lab, names, Duration.ofSeconds(3), Map.of(BULK, List.of(BULK_AT)));
    agent.stop();
    agent =
        RunningAgent.start(
            world,
            World.write(
                configuration.resolveSibling("short.yaml"),
                World.read(configuration)
                    .replace(
                        "[\"198.51.100.54:53\"]", "[\"198.51.100.55:53\"], minRefreshRate: 1s")));
    peers.serve(bulk, BULK_AT, 0);
    Running old = peers.talk(world.ratings, BULK);
    old.awaitOutput("heard", SOON);
    assertThat(releasable()).contains(BULK_AT + ",tcp:443");

    changing.point(BULK, "198.51.100.78");
    changing.point(cnn, BULK_AT);
    World.await(
        () -> "the address to leave the set: " + releasable(),
        () -> !releasable().contains(BULK_AT));
    Running next = peers.talk(world.ratings, cnn);
    next.awaitOutput("heard", SOON);
    next.signal("KILL");
    int before = old.output().length();
    World.await(() -> "the old one to go on", () -> old.output().length() > before);
    old.signal("KILL");

    assertThat(agent.awaitAccess("sni=\"" + cnn + "\"", "connection complete"))
        .contains("cluster=\"outbound|443||" + cnn + "\"")
        .contains("resolved_addr=" + BULK_AT + ":443")
        .contains("grade=\"kernel\"");
    assertThat(agent.awaitAccess("sni=\"" + BULK + "\"", "connection complete"))
        .contains("cluster=\"outbound|443||*.wikipedia.org\"")
        .contains("resolved_addr=" + BULK_AT + ":443")
        .contains("grade=\"kernel\"");
  }

  /// What is in the kernel's set.
  private String releasable() {
    Place home = mode.equals("node") ? world.lab.node() : world.ratings;
    String set = mode.equals("node") ? "tailwater-node-pass-v4" : "tailwater-pass-v4";
    return world.lab.exec(home, "ipset", "list", set).stdout();
  }

  private long counter(String name) {
    return agent
        .page("15020/metrics")
        .stdout()
        .lines()
        .filter(line -> line.startsWith(name + " "))
        .mapToLong(line -> (long) Double.parseDouble(line.substring(name.length())))
        .findFirst()
        .orElseThrow();
  }

  // -- policy

  @Test
  void aNameThatPolicyStopsAllowingLosesItsConnections() {
    peers.serve(bulk, BULK_AT, 0);
    Running client = peers.dial(world.ratings, BULK);
    client.awaitOutput("progress", SOON); // and then it waits

    World.write(
        policies.resolve("policies.yaml"),
        MainJobTest.POLICIES.replace("*.wikipedia.org", "*.example.net"));

    client.awaitOutput("failed", SOON);
    assertThat(agent.awaitAccess("sni=\"" + BULK + "\"", "connection failed"))
        .contains("reason=\"connection_closed\"")
        .contains("grade=\"kernel\"");
    isReset(curl(BULK, "--resolve", BULK + ":443:" + BULK_AT));
  }

  // -- agents come and go

  @Tag("long")
  @Test
  void tenGigabytesOutliveTheAgentThatReleasedThem() {
    transferOutlivesTheAgent(10_000_000_011L);
  }

  /// The agent is killed in the middle of a transfer of so many bytes, and another one started.
  final void transferOutlivesTheAgent(long bytes) {
    peers.serve(bulk, BULK_AT, bytes);
    Running client = peers.dial(world.ratings, BULK);
    client.awaitOutput("progress", SOON);

    agent.process().signal("KILL");
    agent.process().awaitExit(SOON);
    int before = client.output().length();
    World.await(() -> "progress without an agent", () -> client.output().length() > before);
    assertThat(client.isAlive()).as("it was to go on meanwhile: %s", client.output()).isTrue();
    RunningAgent next = RunningAgent.start(world, configuration);

    client.awaitOutput(Peers.ended(bytes), LONG);
    String hello = client.output().lines().findFirst().orElseThrow().replace("hello ", "");
    assertThat(next.awaitAccess("sni=\"" + BULK + "\"", "connection complete"))
        .contains("bytes_sent=" + hello + " ")
        .contains("bytes_recv=" + bytes + " ")
        .contains("grade=\"kernel\"")
        .doesNotContain(" bytes=");
  }

  @Test
  void whatEndsWhileNoAgentRunsIsToldAsIncomplete() {
    peers.serve(bulk, BULK_AT, 0);
    Running client = peers.dial(world.ratings, BULK);
    client.awaitOutput("progress", SOON);
    agent.process().signal("KILL");
    agent.process().awaitExit(SOON);
    client.signal("KILL");
    client.awaitExit(SOON);

    RunningAgent next = RunningAgent.start(world, configuration);

    assertThat(next.awaitAccess("sni=\"" + BULK + "\"", "connection complete"))
        .containsPattern(" bytes=(incomplete|approximate)");
  }

  @Test
  void aHelloThatNoAgentHoldsWaitsForTheNext() {
    reached(curl(EN, "-4"));
    agent.process().signal("KILL");
    agent.process().awaitExit(SOON);
    Running waiting =
        world.lab.start(
            world.ratings,
            "curl",
            "-sS",
            "-m",
            "60",
            "--cacert",
            world.authority.authority().toString(),
            "--resolve",
            EN + ":443:" + World.v4(EN),
            "https://" + EN + "/");

    RunningAgent.start(world, configuration);

    waiting.awaitOutput("host=" + EN, LONG);
  }

  @Test
  void anAgentThatTakesOverHasTheConnectionsToo() {
    long bytes = 6_000_000_000L;
    peers.serve(bulk, BULK_AT, bytes);
    Running client = peers.dial(world.ratings, BULK);
    client.awaitOutput("progress", SOON);

    RunningAgent next = RunningAgent.start(world, configuration);
    agent.process().awaitExit(LONG);
    assertThat(next.page("15000/pods").stdout())
        .containsPattern("default/ratings-v1 +captured .* kernel ");
    reached(curl(EN, "-4"));

    client.awaitOutput(Peers.ended(bytes), LONG);
    assertThat(next.awaitAccess("sni=\"" + BULK + "\"", "connection complete"))
        .contains("bytes_recv=" + bytes + " ")
        .doesNotContain(" bytes=");
    assertThat(next.accessLines("sni=\"" + BULK + "\"")).hasSize(1);
    assertThat(next.awaitAccess("sni=\"" + EN + "\"", "connection complete"))
        .contains("grade=\"kernel\"");
  }

  @Test
  void anAgentThatRelaysEverythingEndsWhatWasReleased() {
    long bytes = 60_000_000_000L; // it must not end by itself before the agent is there
    peers.serve(bulk, BULK_AT, bytes);
    Running client = peers.dial(world.ratings, BULK);
    client.awaitOutput("progress", SOON);
    agent.process().signal("KILL");
    agent.process().awaitExit(SOON);

    agent =
        RunningAgent.start(
            world,
            World.write(
                configuration.resolveSibling("relay.yaml"),
                World.read(configuration).replace("relay: kernel", "relay: splice")));

    // Its rules know of no released connections: what goes round the relay is refused, and ended at
    // its socket, whichever comes first.
    client.awaitOutput("failed Connection", SOON);
    reached(curl(EN, "-4"));
    assertThat(agent.awaitAccess("sni=\"" + EN + "\"", "connection complete"))
        .contains("grade=\"splice\"");
  }
}
