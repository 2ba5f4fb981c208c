package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import io.tailwater.agent.node.PodSocket.End;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Privileges;
import io.tailwater.lab.Result;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.io.IOException;
import java.net.ConnectException;
import java.net.DatagramPacket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.PortUnreachableException;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.extension.TestExecutionExceptionHandler;
import org.junit.jupiter.params.AfterParameterizedClassInvocation;
import org.junit.jupiter.params.BeforeParameterizedClassInvocation;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;
import org.opentest4j.TestAbortedException;

/// The same flow, however it is captured and carried: with every backend, on the node as in the
/// pod, in both families, on both transports. One agent for each combination; each finds the node
/// and the pods as if there never was one.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "nft", "dig"})
@ParameterizedClass(name = "{0}")
@MethodSource("combinations")
@Timeout(60)
abstract class FlowScenarios {
  private static final String POLICIES =
      """
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: wikipedia, namespace: istio-system}
      spec:
        hosts: ["*.wikipedia.org"]
        location: MESH_EXTERNAL
        ports: [{number: 443, name: tls, protocol: TLS}]
        resolution: DYNAMIC_DNS
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: internal, namespace: istio-system}
      spec:
        hosts: ["*.svc.cluster.local"]
        location: MESH_INTERNAL
        ports: [{number: 9080, name: http, protocol: HTTP}]
        resolution: DYNAMIC_DNS
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: bytes, namespace: default}
      spec:
        hosts: [bytes.example.net]
        addresses: [198.51.100.30, "2001:db8::30"]
        location: MESH_EXTERNAL
        ports:
          - {number: 7001, name: tcp-echo, protocol: TCP}
          - {number: 7002, name: tcp-digest, protocol: TCP}
          - {number: 7003, name: tcp-reset, protocol: TCP}
          - {number: 7004, name: tcp-half-close, protocol: TCP}
        resolution: NONE
      """;

  private static final int ECHO = 7001;
  private static final int DIGEST = 7002;
  private static final int RESET = 7003;
  private static final int HALF_CLOSE = 7004;

  private static final String SITE = "en.wikipedia.org";
  private static final String STRANGER = "example.org";
  private static final String SERVICE = "details.default.svc.cluster.local";

  /// Whom the pods ask; nobody is there.
  private static final List<String> NOBODY = List.of("203.0.113.99", "2001:db8:bad::99");

  private static final Duration SOON = Duration.ofSeconds(10);

  /// More than the eight buffers of the kernels on the way there and back hold together.
  private static final byte[] MANY = new byte[24_000_000];

  private static final String SMALL_BUFFERS =
      "echo 4096 131072 1048576 > /proc/sys/net/ipv4/tcp_rmem;"
          + " echo 4096 16384 1048576 > /proc/sys/net/ipv4/tcp_wmem";

  private static World world;
  private static Path policies;
  private static TcpServer servers;
  private static Optional<String> missing = Optional.empty();
  private static RunningAgent agent;

  /// Reports number the combinations; a failure says which one it is.
  @RegisterExtension
  static final TestExecutionExceptionHandler NAMED =
      (context, thrown) -> {
        if (thrown instanceof TestAbortedException) {
          throw thrown;
        }
        CaptureCombination by = ((FlowScenarios) context.getRequiredTestInstance()).by;
        throw new AssertionError(by + ": " + thrown.getMessage(), thrown);
      };

  private final CaptureCombination by;

  FlowScenarios(CaptureCombination by) {
    this.by = by;
  }

  @BeforeAll
  static void build() {
    new Random(1).nextBytes(MANY);
    world = World.build();
    for (Place place : List.of(world.ratings, world.lab.node(), world.web)) {
      world.lab.exec(place, "sh", "-ec", SMALL_BUFFERS).orThrow();
    }
    policies = world.policies(POLICIES);
    world.startPlainHttp();
    servers =
        TcpServer.start(
            world.lab,
            world.web,
            Map.of(
                ECHO, Behaviour.ECHO,
                DIGEST, Behaviour.DIGEST,
                RESET, Behaviour.RESET,
                HALF_CLOSE, Behaviour.HALF_CLOSE));
  }

  @AfterAll
  static void remove() {
    if (world != null) {
      world.close();
    }
  }

  @BeforeParameterizedClassInvocation
  static void start(CaptureCombination by) {
    missing = by.missing(world);
    if (missing.isEmpty()) {
      agent = RunningAgent.start(world, world.configuration(policies, by.yaml()));
    }
  }

  /// A combination that this machine cannot do is skipped by name; where CI=true it fails.
  @BeforeEach
  void theMachineCanDoIt() {
    if (Privileges.mustBeThere()) {
      assertThat(missing).isEmpty();
    }
    assumeThat(missing).isEmpty();
  }

  @AfterParameterizedClassInvocation
  static void stop(CaptureCombination by) {
    if (missing.isPresent() || agent == null) {
      return;
    }
    try (RunningAgent ending = agent) {
      world
          .lab
          .exec(
              world.lab.node(),
              "curl",
              "-sSf",
              "-X",
              "POST",
              "http://localhost:15000/drain_listeners?uninstall=true")
          .orThrow();
      for (Place place : List.of(world.lab.node(), world.ratings, world.reviews)) {
        World.await(
            () -> "nothing of ours is left in " + place.name() + ":\n" + rules(place),
            () -> !hasRules(place));
      }
      assertThat(ending.stop()).as(ending.log()).isZero();
    }
    Result free = world.curlVia(world.ratings, STRANGER, by.address(STRANGER));
    assertThat(free.stdout()).as(free.stderr()).contains("host=" + STRANGER);
  }

  private static String rules(Place place) {
    return world
        .lab
        .exec(
            place,
            "sh",
            "-c",
            "iptables-nft-save; ip6tables-nft-save; iptables-legacy-save; ip6tables-legacy-save;"
                + " nft list ruleset")
        .stdout();
  }

  private static boolean hasRules(Place place) {
    return rules(place).toLowerCase(Locale.ROOT).contains("tailwater");
  }

  private String decoy() {
    return by.isIpv6() ? World.DECOY_6 : World.DECOY;
  }

  /// An address and a port as the access log tells them.
  private String told(String address, int port) {
    return by.isIpv6() ? "[" + address + "]:" + port : address + ":" + port;
  }

  private PodSocket connect(int port) {
    return PodSocket.connect(world.ratings, by.address(STRANGER), port);
  }

  @Test
  void theRulesStandWhereTheModeSaysAndNowhereElse() {
    assertThat(hasRules(world.ratings)).isEqualTo(by.isInPod());
    assertThat(hasRules(world.lab.node())).isNotEqualTo(by.isInPod());
    assertThat(agent.log()).contains("rules are kept by " + by.backend());
  }

  // ---- names

  @Test
  void aNameUnderAWildcardIsReachedByNameThoughTheDecoyWasDialled() {
    Result curl = world.curlVia(world.ratings, SITE, decoy());
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout())
        .contains("host=" + SITE)
        .contains("server=" + by.address(SITE) + " ")
        .contains("client=" + by.address(world.ratings))
        .endsWith("200\n");
    assertThat(agent.awaitAccess("sni=\"" + SITE + "\"", "connection complete"))
        .contains("src.workload=\"ratings-v1\"")
        .contains("original_dst=" + told(decoy(), 443))
        .contains("resolved_addr=" + told(by.address(SITE), 443))
        .contains("cluster=\"outbound|443||*.wikipedia.org\"")
        .contains("grade=\"" + by.grade() + "\"");
  }

  @Test
  void anUnknownNameIsResetAndRecordedWithItsName() {
    int before = world.upstream.accessLog().length();
    Result curl = world.curlVia(world.ratings, STRANGER, by.address(STRANGER));
    assertThat(curl.exit()).as(curl.stdout() + curl.stderr()).isIn(35, 52, 56);
    assertThat(curl.stderr()).containsIgnoringCase("reset");
    assertThat(agent.awaitAccess("sni=\"" + STRANGER + "\""))
        .contains("connection failed")
        .contains("src.workload=\"ratings-v1\"")
        .contains("original_dst=" + told(by.address(STRANGER), 443))
        .contains("reason=\"connection_closed\"");
    assertThat(agent.page("15000/denials").stdout())
        .contains("default/ratings-v1")
        .contains(STRANGER)
        .contains("connection_closed");
    assertThat(world.upstream.accessLog().substring(before)).doesNotContain(STRANGER);
  }

  @Test
  void aKnownHostOfPlaintextHttpIsAnsweredAndAnUnknownOneRefusedWith502() {
    Result known = http(SERVICE);
    assertThat(known.exit()).as("%s\n%s", known.stderr(), agent.log()).isZero();
    assertThat(known.stdout())
        .contains("host=" + SERVICE + " ")
        .contains("client=" + by.address(world.ratings))
        .endsWith("200\n");
    agent.awaitAccess("request complete", "host=\"" + SERVICE + "\"", "response_code=200");

    assertThat(http("unknown.example.com").stdout()).doesNotContain("host=").endsWith("502\n");
    agent.awaitAccess("request failed", "host=\"unknown.example.com\"", "reason=\"http_502\"");
    assertThat(agent.page("15000/denials").stdout()).contains("unknown.example.com", "http_502");
  }

  private Result http(String host) {
    String dialled = by.isIpv6() ? "[" + decoy() + "]" : decoy();
    return world.curl(
        world.ratings,
        "http://" + SERVICE + ":9080/",
        "--resolve",
        SERVICE + ":9080:" + dialled,
        "-H",
        "Host: " + host);
  }

  @Test
  void aQuestionToAnyNameServerIsAnsweredByTheAgent() {
    for (String how : List.of("+notcp", "+tcp")) {
      Result dig =
          world.lab.exec(
              world.ratings,
              "dig",
              "@" + NOBODY.get(by.isIpv6() ? 1 : 0),
              how,
              "+short",
              "+time=5",
              "+tries=1",
              "de.wikipedia.org",
              by.isIpv6() ? "AAAA" : "A");
      assertThat(dig.stdout().strip())
          .as("%s: %s\n%s", how, dig, agent.log())
          .isEqualTo(by.address("de.wikipedia.org"));
    }
  }

  // ---- bytes

  @Test
  void theServerStillAnswersAClientThatHasEnded() {
    byte[] bytes = Arrays.copyOf(MANY, 6_000_000);
    String answer = bytes.length + " " + PodSocket.sha256(bytes);
    try (PodSocket client = connect(DIGEST)) {
      client.send(bytes).shutdownOutput();
      assertThat(client.readLine(SOON)).isEqualTo(answer);
      assertThat(client.end(SOON)).isEqualTo(End.CLOSED);
    }
    assertThat(agent.awaitAccess("original_dst=" + told(by.address(STRANGER), DIGEST)))
        .contains("connection complete")
        .contains("grade=\"" + by.grade() + "\"")
        .contains("bytes_sent=" + bytes.length)
        .contains("bytes_recv=" + (answer.length() + 1));
  }

  @Test
  void aServerThatHasEndedStillHearsTheClient() {
    int before = servers.output().length();
    try (PodSocket client = connect(HALF_CLOSE)) {
      assertThat(client.end(SOON)).isEqualTo(End.CLOSED);
      client.send("said after the server's end").shutdownOutput();
      World.await(
          servers::output, () -> servers.output().substring(before).contains(" bytes=27\n"));
    }
    String pod = InetAddress.ofLiteral(by.address(world.ratings)).getHostAddress();
    assertThat(servers.output().substring(before)).contains(HALF_CLOSE + " HALF_CLOSE /", pod);
  }

  @Test
  void aResetByTheServerReachesTheClient() {
    try (PodSocket client = connect(RESET)) {
      client.send("x");
      assertThat(client.end(SOON)).isEqualTo(End.RESET);
    }
    agent.awaitAccess(
        "original_dst=" + told(by.address(STRANGER), RESET), "reset by the destination");
  }

  @Test
  void aSlowReaderIsWaitedForAndMissesNothingOfMuchThatGoesBothWays() {
    try (PodSocket client = connect(ECHO)) {
      PodSocket.Sending sending = client.sending(MANY);
      long[] last = {0};
      int[] still = {0};
      World.await(
          () -> "nobody takes more while nothing is read: " + sending.taken(),
          () -> {
            long now = sending.taken().get();
            still[0] = now > 0 && now == last[0] ? still[0] + 1 : 0;
            last[0] = now;
            return still[0] == 5;
          });
      assertThat(sending.taken().get()).isLessThan(MANY.length);
      assertThat(client.sha256Of(MANY.length, Duration.ofSeconds(30)))
          .isEqualTo(PodSocket.sha256(MANY));
      sending.done().join();
      client.shutdownOutput();
      assertThat(client.end(SOON)).isEqualTo(End.CLOSED);
    }
    assertThat(agent.awaitAccess("original_dst=" + told(by.address(STRANGER), ECHO)))
        .contains("bytes_sent=" + MANY.length)
        .contains("bytes_recv=" + MANY.length);
  }

  // ---- what is refused at once

  @Test
  void aClientOfUdp443LearnsAtOnceThatItIsRefused() throws IOException {
    InetSocketAddress quic = new InetSocketAddress(InetAddress.ofLiteral(by.address(SITE)), 443);
    try (NetworkNamespace pod = NetworkNamespace.open(world.ratings.path());
        DatagramChannel client = pod.call(() -> DatagramChannel.open().connect(quic))) {
      client.socket().setSoTimeout(5_000);
      assertThatThrownBy(
              () -> {
                send(client);
                client.socket().receive(new DatagramPacket(new byte[1], 1));
              })
          .isInstanceOf(PortUnreachableException.class);
    }
    agent.awaitAccess("reason=\"udp\"", told(by.address(SITE), 443));
  }

  /// Where the rules stand in the pod, the kernel refuses the call as well.
  private static void send(DatagramChannel client) throws IOException {
    try {
      client.write(ByteBuffer.wrap(new byte[1200]));
    } catch (PortUnreachableException e) {
      throw e;
    } catch (IOException e) {
      assertThat(e).hasMessageContaining("not permitted");
    }
  }

  @Test
  void theCapturePortDialledDirectlyIsRefused() {
    String loopback = by.isIpv6() ? "::1" : "127.0.0.1";
    Place listens = by.isInPod() ? world.ratings : world.lab.node();
    try (PodSocket direct = PodSocket.connect(listens, loopback, 15001)) {
      assertThat(direct.end(SOON)).isEqualTo(End.RESET);
    }
    if (by.isInPod()) {
      try (PodSocket direct = PodSocket.connect(listens, by.address(listens), 15001)) {
        assertThat(direct.end(SOON)).isEqualTo(End.RESET);
      }
      agent.awaitAccess("reason=\"direct_hit\"", "src.workload=\"ratings-v1\"");
    } else {
      agent.awaitAccess("reason=\"unknown_source\"", "dst.addr=" + told(loopback, 15001));
      assertThatThrownBy(() -> PodSocket.connect(world.ratings, loopback, 15001))
          .as("nobody listens in the pod")
          .hasCauseInstanceOf(ConnectException.class);
      String node = by.address(world.lab.node());
      try (PodSocket fromPod = PodSocket.connect(world.ratings, node, 15001)) {
        assertThat(fromPod.end(SOON)).isEqualTo(End.RESET);
      }
      agent.awaitAccess("original_dst=" + told(node, 15001), "reason=\"connection_closed\"");
    }
  }
}
