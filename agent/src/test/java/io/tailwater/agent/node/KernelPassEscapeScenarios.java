package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.DnsServer;
import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.Running;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/// What no honest client does, or what nobody hopes for, tried at the kernel pass: one world, one
/// agent, and a name and address of its own for each attempt.
@NeedsRoot(
    commands = {
      "nginx",
      "dnsmasq",
      "openssl",
      "curl",
      "nsenter",
      "iptables",
      "python3",
      "conntrack"
    })
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@Timeout(120)
abstract class KernelPassEscapeScenarios {
  private static final int NAMES = 90;
  private static final String FORBIDDEN = "example.org";
  private static final String EN = "en.wikipedia.org";
  private static final String SERVICE = "service.wikipedia.org";
  private static final String SERVICE_AT = "203.0.113.80";
  private static final String ECHO = "echo.wikipedia.org";
  private static final String ECHO_AT = "198.51.100.79";
  private static final String BULK = "bulk.wikipedia.org";
  private static final String BULK_AT = "198.51.100.77";
  private static final String HALF_DEAD = "half-dead.wikipedia.org";
  private static final String DEAD_AT = "198.51.103.201";
  private static final String LIVE_AT = "198.51.103.202";
  private static final Duration SOON = Duration.ofSeconds(20);
  private static final Duration LONG = Duration.ofMinutes(1);

  private final String mode;
  private World world;
  private Peers peers;
  private Place site;
  private Running server;
  private RunningAgent agent;
  private int used;

  /// @param mode the capture mode
  KernelPassEscapeScenarios(String mode) {
    this.mode = mode;
  }

  @BeforeAll
  void start() {
    world = World.build();
    peers = new Peers(world);
    site =
        world.lab.addHost(
            "site",
            Stream.concat(
                    Stream.of(DEAD_AT, LIVE_AT),
                    IntStream.rangeClosed(1, NAMES).boxed().flatMap(i -> Stream.of(v4(i), v6(i))))
                .toArray(String[]::new));
    server = peers.serve(site, "::", 1000);
    for (String family : List.of("iptables", "ip6tables")) {
      at(site, family + " -w -A INPUT -m string --algo bm --string " + FORBIDDEN);
    }
    at(site, "iptables -w -A INPUT -p tcp -d " + DEAD_AT + " -j DROP");
    peers.serve(world.lab.addHost("echo", ECHO_AT), ECHO_AT, 0);
    Map<String, List<String>> records = new TreeMap<>(World.SITES);
    IntStream.rangeClosed(1, NAMES).forEach(i -> records.put(name(i), List.of(v4(i), v6(i))));
    records.put(SERVICE, List.of(SERVICE_AT));
    records.put(ECHO, List.of(ECHO_AT));
    records.put(BULK, List.of(BULK_AT));
    records.put(HALF_DEAD, List.of(DEAD_AT, LIVE_AT));
    Place names = world.lab.addHost("dns-2", "198.51.100.54");
    DnsServer.start(world.lab, names, Duration.ofSeconds(60), records);
    world.lab.nameserver(world.ratings, "203.0.113.99");
    for (Place place : List.of(world.ratings, site)) { // both sides, without a cookie
      world.lab.exec(place, "sysctl", "-qw", "net.ipv4.tcp_fastopen=1543");
    }
    agent =
        RunningAgent.start(
            world,
            world.configuration(
                world.policies(MainJobTest.POLICIES),
                """
                mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
                dns: {servers: ["198.51.100.54:53"]}
                relay: kernel
                limits: {clientHelloTime: 4s}
                """
                    + "capture: {mode: "
                    + mode
                    + "}\n"));
  }

  @AfterAll
  void stop() {
    if (world != null) {
      world.close();
    }
  }

  private static String name(int i) {
    return "t" + i + ".wikipedia.org";
  }

  private static String v4(int i) {
    return "198.51.103." + i;
  }

  private static String v6(int i) {
    return "2001:db8:103::" + Integer.toHexString(i);
  }

  /// A name that nobody has used, for one attempt.
  private int fresh() {
    return ++used;
  }

  private static String address(int i, String how) {
    return how.endsWith("-6") ? v6(i) : v4(i);
  }

  private long gotAt(String address) {
    return server
        .output()
        .lines()
        .filter(line -> line.startsWith("got ") && line.endsWith(" at " + address))
        .count();
  }

  private static String over(Running client) {
    World.await(
        () -> "the end of: " + client.output(),
        () -> client.output().matches("(?s)(failed|heard|closed).*\n"));
    return client.output().strip();
  }

  /// Where the rules are.
  private Place home() {
    return mode.equals("node") ? world.lab.node() : world.ratings;
  }

  private void at(Place place, String command) {
    Result result = world.lab.exec(place, "sh", "-c", command);
    assertThat(result.ok()).as(command + ": " + result.stderr()).isTrue();
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

  // -- a name that nothing allows

  static Stream<String> tricks() {
    return Stream.of(
        "none",
        "none-6",
        "mark=0x2",
        "mark=0x4",
        "mark=0x6",
        "mark=0x539",
        "mark=0x7a110400",
        "mark=0x7a110800",
        "decoy",
        "decoy-6",
        "decoy-broken",
        "decoy-short-lived",
        "decoy-short-lived-6",
        "decoy-ahead",
        "decoy-behind",
        "decoy-far",
        "decoy-flagless",
        "decoy-unacknowledging",
        "decoy-syn",
        "decoy-syn-ahead",
        "decoy-syn-ahead-6",
        "decoy-syn-data",
        "decoy-rst",
        "decoy-fin",
        "decoy-extended-6",
        "decoy-fragmented-6",
        "decoy-frame",
        "frame",
        "same-ends-reset",
        "same-ends-ended",
        "fastopen");
  }

  @ParameterizedTest
  @MethodSource("tricks")
  void noTrickBringsAForbiddenNameOut(String how) {
    int i = fresh();

    List<String> seenBefore = seen();

    over(peers.trick(world.ratings, how, name(i), FORBIDDEN));

    assertThat(server.output()).doesNotContain("forbidden");
    if (!how.startsWith("decoy")) { // behind one that the server takes, it is a copy of old bytes
      assertThat(seen()).as("what came to the server's host").isEqualTo(seenBefore);
    }
  }

  /// Packets with the forbidden name.
  private List<String> seen() {
    return Stream.of("iptables", "ip6tables")
        .map(family -> world.lab.exec(site, family, "-w", "-vxnL", "INPUT").stdout())
        .map(rules -> rules.lines().filter(line -> line.contains("STRING")).findFirst())
        .map(rule -> rule.orElseThrow().strip().split(" +")[0])
        .toList();
  }

  // -- an allowed one

  @ParameterizedTest
  @ValueSource(strings = {"options", "urgent", "extended-6", "extended-later-6"})
  void whatTheServerCouldReadOtherwiseIsRefusedWhateverItsName(String how) {
    int i = fresh();

    assertThat(over(peers.trick(world.ratings, how, name(i), name(i)))).startsWith("failed");

    assertThat(gotAt(address(i, how))).isZero();
    assertThat(agent.awaitAccess("connection failed", "original_dst=", address(i, how)))
        .contains("reason=\"malformed_hello\"");
  }

  @ParameterizedTest
  @ValueSource(strings = {"none", "none-6", "fastopen", "short-lived"})
  void anAllowedNameArrivesHoweverItIsSaid(String how) {
    int i = fresh();

    assertThat(over(peers.trick(world.ratings, how, name(i), name(i)))).startsWith("heard");

    assertThat(server.output()).contains("got 517 allowed at " + address(i, how));
    assertThat(agent.awaitAccess("sni=\"" + name(i) + "\"", "connection complete"))
        .contains("grade=\"kernel\"");
  }

  @ParameterizedTest
  @ValueSource(strings = {"same-ends-reset", "same-ends-ended"})
  void aSecondConnectionWithTheSameEndsIsJudgedAndCountedForItself(String how) {
    int i = fresh();

    assertThat(over(peers.trick(world.ratings, how, name(i), name(i)))).startsWith("heard");

    assertThat(gotAt(v4(i))).isEqualTo(2);
    World.await(
        () -> "two records:\n" + agent.accessLog(),
        () -> agent.accessLines("sni=\"" + name(i) + "\"", "grade=\"kernel\"").count() == 2);
  }

  @ParameterizedTest
  @ValueSource(strings = {"end-early", "end-early-6"})
  void aStreamThatEndsWithinItsHelloIsRefusedInTime(String how) {
    int i = fresh();

    assertThat(over(peers.trick(world.ratings, how, name(i), name(i)))).startsWith("failed");

    assertThat(agent.awaitAccess("connection failed", "original_dst=", address(i, how)))
        .containsAnyOf("reason=\"hello_timeout\"", "reason=\"malformed_hello\"");
    assertThat(gotAt(address(i, how))).isZero();
  }

  @Test
  void whoSaysNothingIsEndedInTimeAndSoIsTheServersSide() {
    int i = fresh();

    assertThat(over(peers.trick(world.ratings, "silent", name(i), name(i)))).startsWith("failed");

    assertThat(agent.awaitAccess("connection failed", "original_dst=" + v4(i)))
        .contains("reason=\"hello_timeout\"");
    server.awaitOutput("lost", SOON);
    assertThat(gotAt(v4(i))).isZero();
  }

  // -- an address where nobody answers

  @Test
  void whoDialsADeadAddressAgainIsRelayedToOneThatLives() {
    at(world.ratings, "getent ahostsv4 " + HALF_DEAD);
    Result first = world.curlVia(world.ratings, HALF_DEAD, DEAD_AT, "--connect-timeout", "1.5");
    assertThat(first.exit()).as(first.stderr()).isEqualTo(28);

    World.await(
        () -> "the hello\n" + agent.accessLog(),
        () -> {
          world.curlVia(world.ratings, HALF_DEAD, DEAD_AT, "--connect-timeout", "5");
          return gotAt(LIVE_AT) > 0;
        });
    assertThat(agent.awaitAccess("sni=\"" + HALF_DEAD + "\""))
        .contains("original_dst=" + DEAD_AT)
        .contains("grade=\"splice\"");
  }

  // -- names that others tell

  @Test
  void aPodThatAsksItsOwnResolverGetsNowhereElse() {
    Map<String, List<String>> lies =
        Map.of(EN, List.of(World.v4(FORBIDDEN)), FORBIDDEN, List.of(World.v4(FORBIDDEN)));
    try (DnsServer liar = DnsServer.start(world.lab, world.reviews, Duration.ofSeconds(60), lies)) {
      assertThat(liar.queries()).isEmpty();
      world.lab.nameserver(world.reviews, "127.0.0.1");

      Result named = world.curl(world.reviews, "https://" + EN + "/", "-4");
      assertThat(named.exit()).as("%s\n%s", named.stderr(), agent.log()).isZero();
      assertThat(named.stdout()).containsAnyOf("server=" + World.v4(EN), "server=" + World.v6(EN));
      Result dialled = world.curlVia(world.reviews, EN, World.v4(FORBIDDEN));
      assertThat(dialled.stdout()).doesNotContain("server=" + World.v4(FORBIDDEN));
      Result forbidden = world.curl(world.reviews, "https://" + FORBIDDEN + "/", "-4");
      assertThat(forbidden.exit()).isNotZero();
    }
  }

  // -- what stands between the pod and the server

  @Test
  void theNodeMayTranslateBothAddresses() {
    int i = fresh();
    String translate = "iptables -w -t nat -%s %s";
    List<String> rules =
        List.of(
            "PREROUTING -d " + SERVICE_AT + " -p tcp -j DNAT --to-destination " + v4(i),
            "POSTROUTING -s " + world.ratings.v4() + " -d " + v4(i) + " -j MASQUERADE");
    // As on any node there is a way to everywhere, also for what is about to be translated.
    String way = "dev $(ip -o route get " + v4(i) + " | sed 's/.* dev \\([^ ]*\\).*/\\1/')";
    at(world.lab.node(), "ip route replace " + SERVICE_AT + " " + way);
    rules.forEach(rule -> at(world.lab.node(), translate.formatted("A", rule)));
    try {
      Running client = peers.dial(world.ratings, SERVICE);
      client.awaitOutput(Peers.ended(1000), SOON);

      assertThat(server.output()).contains("accepted 192.0.2.1 ").contains("allowed at " + v4(i));
      assertThat(agent.awaitAccess("sni=\"" + SERVICE + "\"", "connection complete"))
          .contains("grade=\"kernel\"")
          .contains("bytes_recv=1000 ")
          .contains("original_dst=" + SERVICE_AT)
          .doesNotContain(" bytes=");

      String before = server.output();
      assertThat(over(peers.trick(world.ratings, "none", SERVICE, FORBIDDEN))).startsWith("failed");
      World.await(
          () -> "the server to learn it: " + server.output(),
          () -> server.output().substring(before.length()).contains("lost"));
      assertThat(gotAt(v4(i))).isEqualTo(1);
    } finally {
      rules.forEach(rule -> at(world.lab.node(), translate.formatted("D", rule)));
    }
  }

  @Test
  void aConnectionThatConntrackForgetsDoesNotGoOnUnseen() {
    Running client = peers.talk(world.ratings, ECHO);
    client.awaitOutput("heard", SOON);

    at(home(), "conntrack -F");

    client.awaitOutput("failed", SOON);
  }

  @Test
  void aServerThatGoesOnSendingDoesNotBringAForgottenConnectionBack() {
    Place bulk = world.lab.addHost("bulk", BULK_AT);
    Running sender = peers.serve(bulk, BULK_AT, 200_000_000_000L);
    Running client = peers.dial(world.ratings, BULK);
    client.awaitOutput("progress", SOON);

    at(home(), "conntrack -F");

    // Whoever of them speaks first; what the other has to say then goes nowhere.
    World.await(
        () -> "the end of: " + client.output() + sender.output(),
        () -> client.output().contains("failed") || sender.output().contains("lost"));
    client.signal("KILL");
    client.awaitExit(SOON);
  }

  // -- too much at once

  @Test
  void whatComesFasterThanItIsReadIsCountedAndServedLater() {
    int i = fresh();
    int count = 300;
    Running client = peers.burst(world.ratings, name(i), count);
    client.awaitOutput("open", SOON);
    long before = counter("tailwater_kernel_pass_lost_total");

    agent.process().signal("STOP");
    client.signal("USR1");
    client.awaitOutput("said", SOON);
    assertThat(gotAt(v4(i))).as("nothing passes undecided").isZero();
    agent.process().signal("CONT");

    client.awaitOutput("done", LONG);
    assertThat(client.output()).contains("done " + count + " 0");
    assertThat(counter("tailwater_kernel_pass_lost_total")).isGreaterThan(before);
    assertThat(gotAt(v4(i))).isEqualTo(count);
  }
}
