package io.tailwater.agent.admin;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.fail;

import io.tailwater.agent.config.AgentConfig;
import io.tailwater.agent.config.AgentConfigReader;
import io.tailwater.agent.control.capture.CapturedPods;
import io.tailwater.agent.dataplane.account.AccessLog;
import io.tailwater.agent.dataplane.account.AccessLogConfig;
import io.tailwater.agent.dataplane.account.Accounts;
import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.Metrics;
import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.flow.LiveConnections;
import io.tailwater.agent.dataplane.resolve.ResolveStats;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.OutlierDetection;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.dataplane.upstream.Cluster;
import io.tailwater.agent.dataplane.upstream.Clusters;
import io.tailwater.agent.dataplane.upstream.Endpoint;
import io.tailwater.agent.dataplane.upstream.Sign;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.ClientAddress;
import io.tailwater.agent.traffic.Direction;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class AdminServerTest {
  private static final String WIKIPEDIA = "outbound|443||*.wikipedia.org";

  @TempDir private Path dir = Path.of("/nonexistent");

  private final Clusters clusters = new Clusters();
  private final SortedSet<String> pending = new ConcurrentSkipListSet<>();
  private final AtomicReference<String> drained = new AtomicReference<>("no");
  private final List<ConnectionRecord> live = new ArrayList<>();
  private AccessLog log;
  private Accounts accounts;
  private AdminServer server;

  @BeforeEach
  void start() throws IOException {
    log =
        AccessLog.open(new AccessLogConfig(AccessLogConfig.Format.TEXT, dir.resolve("access.log")));
    accounts = new Accounts(new Metrics("0.1.0"), log, routes());
    server = AdminServer.start(inputs("127.0.0.1:0"));
  }

  @AfterEach
  void stop() {
    server.close();
    log.close();
  }

  private AdminInputs inputs(String admin) {
    return new AdminInputs(
        config("admin: '" + admin + "'\nmetrics: 127.0.0.1:0\nreadiness: 127.0.0.1:0\nnode: n<1>"),
        new BuildInfo("0.1.0", "abc1234"),
        clusters,
        new LiveConnections() {
          @Override
          public int count() {
            return live.size();
          }

          @Override
          public CompletableFuture<List<ConnectionRecord>> snapshot() {
            return CompletableFuture.completedFuture(List.copyOf(live));
          }
        },
        () ->
            List.of(
                new CapturedPods.Status(
                    pod(),
                    "/run/netns/ratings",
                    "captured",
                    "",
                    "iptables-nft",
                    "captured",
                    "notified, swept every 60 s",
                    "mark",
                    "on",
                    "kernel",
                    2,
                    Instant.EPOCH)),
        accounts,
        routes(),
        new ResolveStats(),
        () -> new TreeSet<>(pending),
        new AdminInputs.Drain() {
          @Override
          public void begin(boolean uninstall) {
            drained.set(uninstall ? "uninstalled" : "drained");
          }

          @Override
          public boolean draining() {
            return !drained.get().equals("no");
          }
        },
        request -> Response.text("explained " + request.parameter("to").orElse("") + "\n"));
  }

  private static AgentConfig config(String yaml) {
    AgentConfigReader.Loaded loaded =
        AgentConfigReader.parse("t.yaml", yaml, Path.of("/"), Map.of());
    assertThat(loaded.problems()).isEmpty();
    return loaded.config().orElseThrow();
  }

  private static Pod pod() {
    return new Pod(new PodRef("default", "ratings-v1"), "default", Map.of(), List.of());
  }

  private static InetAddress ip(String text) {
    return CidrBlock.parseAddress(text).orElseThrow();
  }

  private static CurrentRoutes routes() {
    ClientView view =
        new ClientView() {
          @Override
          public EgressMode mode() {
            return EgressMode.ENFORCE;
          }

          @Override
          public boolean registryOnly() {
            return true;
          }

          @Override
          public Ask ask(OriginalDst dst) {
            return Ask.PREFACE;
          }

          @Override
          public Decision decide(OriginalDst dst, Preface preface) {
            throw new AssertionError("pages decide nothing");
          }
        };
    return new CurrentRoutes(
        new RouteTable() {
          @Override
          public long generation() {
            return 7;
          }

          @Override
          public ClientView view(Pod pod) {
            return view;
          }

          @Override
          public List<Configured> configured() {
            return List.of(
                new Configured(
                    WIKIPEDIA,
                    "*.wikipedia.org",
                    443,
                    "TLS",
                    ".",
                    "by-name",
                    new ResourceRef("ServiceEntry", "default", "wikipedia")));
          }
        });
  }

  private static ConnectionRecord connection(Preface preface) {
    ConnectionRecord c =
        new ConnectionRecord(
            1,
            pod(),
            Direction.OUTBOUND,
            new ClientAddress(ip("10.1.0.10"), 41022),
            new OriginalDst(ip("203.0.113.250"), 443),
            Instant.EPOCH,
            System.nanoTime());
    c.preface(preface);
    return c;
  }

  private void refuse(Preface preface, Refusal why) {
    ConnectionRecord c = connection(preface);
    c.decision(new Decision.Refuse(why, Optional.of(Decision.BLACK_HOLE), Optional.empty()));
    accounts.accepted(c);
    accounts.ended(c, new Outcome.Refused(why, ""));
  }

  // ---- a client that sends what it is told

  private record Reply(int status, String head, String body) {}

  private static Reply reply(byte[] all) {
    String text = new String(all, StandardCharsets.UTF_8);
    int end = text.indexOf("\r\n\r\n");
    assertThat(end).as("an HTTP response in: %s", text).isPositive();
    return new Reply(
        Integer.parseInt(text.substring(9, 12)), text.substring(0, end), text.substring(end + 4));
  }

  private static Reply send(InetSocketAddress to, String request) throws IOException {
    try (Socket socket = new Socket(to.getAddress(), to.getPort())) {
      socket.setSoTimeout(20_000);
      socket.getOutputStream().write(request.getBytes(StandardCharsets.UTF_8));
      socket.getOutputStream().flush();
      return reply(socket.getInputStream().readAllBytes());
    }
  }

  private InetSocketAddress admin() {
    return (InetSocketAddress) server.adminAddress();
  }

  private Reply admin(String method, String path, String... headers) throws IOException {
    return send(admin(), request(method, path, "localhost:15000", headers));
  }

  private static String request(String method, String path, String host, String... headers) {
    StringBuilder out = new StringBuilder();
    out.append(method).append(' ').append(path).append(" HTTP/1.1\r\nConnection: close\r\n");
    out.append("Host: ").append(host).append("\r\n");
    for (String header : headers) {
      out.append(header).append("\r\n");
    }
    return out.append("\r\n").toString();
  }

  private void golden(String file, String actual) throws IOException {
    Path golden = Path.of("src/test/resources/io/tailwater/agent/admin", file);
    if (System.getProperty("goldens", "").equals("write")) {
      Files.writeString(golden, actual);
    }
    assertThat(actual).isEqualTo(Files.readString(golden));
  }

  private void traffic() {
    Endpoint v4 =
        clusters
            .cluster(WIKIPEDIA)
            .endpoint(new InetSocketAddress(ip("198.51.100.10"), 443), "de.wikipedia.org", 1);
    v4.opened();
    v4.opened();
    v4.closed(2);
    Endpoint v6 =
        clusters
            .cluster(WIKIPEDIA)
            .endpoint(new InetSocketAddress(ip("2001:db8::15"), 443), "en.wikipedia.org", 1);
    v6.connectFailed(2);
    clusters
        .cluster("outbound|443||example.net")
        .endpoint(new InetSocketAddress(ip("198.51.100.20"), 8443), "example.net", 1)
        .opened();
    clusters
        .cluster(Decision.PASSTHROUGH)
        .endpoint(new InetSocketAddress(ip("203.0.113.7"), 22), "203.0.113.7:22", 1)
        .opened();
    clusters.cluster(WIKIPEDIA).bytes(118, 2048);
  }

  // ---- Envoy's pages

  @Test
  void clustersAreTheLinesThatEnvoyPrints() throws IOException {
    traffic();

    golden("clusters.txt", admin("GET", "/clusters").body());
  }

  @Test
  void aClusterThatNothingUsedYetIsThere() throws IOException {
    assertThat(admin("GET", "/clusters").body())
        .contains(WIKIPEDIA + "::observability_name::" + WIKIPEDIA);
    assertThat(clusters.all()).noneMatch(c -> c.name().equals(WIKIPEDIA));
  }

  @Test
  void clustersInJsonAreWhatEnvoyPrints() throws IOException {
    traffic();
    Reply reply = admin("GET", "/clusters?format=json");

    assertThat(reply.head()).contains("content-type: application/json");
    golden("clusters.json", reply.body());
  }

  @Test
  void theGrepOfIstiosUsersPrintsTheEightLinesPerAddress() throws IOException {
    traffic();

    List<String> lines =
        admin("GET", "/clusters")
            .body()
            .lines()
            .filter(l -> l.contains("outbound|443||*.wikipedia.org"))
            .filter(l -> l.matches(".*(rq|cx).*"))
            .filter(l -> l.contains("198.51.100.10:443"))
            .toList();

    assertThat(lines)
        .containsExactly(
            WIKIPEDIA + "::198.51.100.10:443::cx_active::1",
            WIKIPEDIA + "::198.51.100.10:443::cx_connect_fail::0",
            WIKIPEDIA + "::198.51.100.10:443::cx_total::2",
            WIKIPEDIA + "::198.51.100.10:443::rq_active::1",
            WIKIPEDIA + "::198.51.100.10:443::rq_error::0",
            WIKIPEDIA + "::198.51.100.10:443::rq_success::0",
            WIKIPEDIA + "::198.51.100.10:443::rq_timeout::0",
            WIKIPEDIA + "::198.51.100.10:443::rq_total::2");
  }

  @Test
  void limitsAndEndpointsThatRestAreShownAsEnvoyDoes() throws IOException {
    traffic();
    Cluster cluster = clusters.cluster(WIKIPEDIA);
    ConnectionPolicy.Limits none = new ConnectionPolicy.Limits(0, 7, 8, 9, 0);
    assertThat(cluster.admitConnection(none)).isFalse();
    Optional<OutlierDetection> rule =
        Optional.of(
            new OutlierDetection(
                1, 0, Optional.empty(), Duration.ofSeconds(10), Duration.ofMinutes(5), 100, 0));
    cluster.tell(cluster.endpoints().getFirst(), Sign.NO_ANSWER, rule, System.nanoTime());

    assertThat(admin("GET", "/clusters").body())
        .contains(WIKIPEDIA + "::default_priority::max_connections::0\n")
        .contains(WIKIPEDIA + "::default_priority::max_pending_requests::8\n")
        .contains(WIKIPEDIA + "::default_priority::max_requests::7\n")
        .contains("::health_flags::/failed_outlier_check\n");
    assertThat(admin("GET", "/clusters?format=json").body())
        .contains("\"failed_outlier_check\": true");
    assertThat(admin("GET", "/stats?filter=wikipedia").body())
        .contains("membership_healthy: 1\n")
        .contains("outlier_detection.ejections_active: 1\n")
        .contains("upstream_cx_overflow: 1\n");
  }

  @Test
  void statsCarryEnvoysNamesWithColonsReplaced() throws IOException {
    traffic();

    assertThat(admin("GET", "/stats?filter=wikipedia.*_total$").body())
        .isEqualTo(
            """
            cluster.outbound|443||*.wikipedia.org.membership_total: 2
            cluster.outbound|443||*.wikipedia.org.outlier_detection.ejections_enforced_total: 0
            cluster.outbound|443||*.wikipedia.org.upstream_cx_rx_bytes_total: 2048
            cluster.outbound|443||*.wikipedia.org.upstream_cx_total: 3
            cluster.outbound|443||*.wikipedia.org.upstream_cx_tx_bytes_total: 118
            cluster.outbound|443||*.wikipedia.org.upstream_rq_total: 2
            """);
    assertThat(admin("GET", "/stats?usedonly&type=Counters").body())
        .contains("upstream_cx_total: 3\n")
        .doesNotContain(": 0\n")
        .doesNotContain("upstream_cx_active");
    assertThat(admin("GET", "/stats?format=json").body())
        .contains("\"name\": \"server.live\",\n   \"value\": 1");
  }

  @Test
  void statsInPrometheusFormatHaveTheClusterAsATag() throws IOException {
    traffic();

    assertThat(admin("GET", "/stats/prometheus").body())
        .contains(
            "# TYPE envoy_cluster_upstream_cx_total counter\n",
            "envoy_cluster_upstream_cx_total{envoy_cluster_name=\"outbound|443||*.wikipedia.org\"}"
                + " 3\n",
            "# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n");
  }

  @ParameterizedTest
  @ValueSource(strings = {"(", "(a%2B)%2B%24(b%2B)%2B("})
  void aFilterThatIsNoPatternIsABadRequest(String filter) throws IOException {
    assertThat(admin("GET", "/stats?filter=" + filter).status()).isEqualTo(400);
  }

  @Test
  void aFilterThatNeverEndsIsStopped() throws IOException {
    clusters.cluster("outbound|443||" + "a".repeat(60) + ".example");

    assertThat(admin("GET", "/stats?filter=(a%2Ba%2B)%2Bb%24").status()).isIn(200, 400);
  }

  @Test
  void readyFollowsWhatIsPending() throws IOException {
    assertThat(admin("GET", "/ready"))
        .extracting(Reply::status, Reply::body)
        .containsExactly(200, "LIVE\n");

    pending.add("policy");

    assertThat(admin("GET", "/ready"))
        .extracting(Reply::status, Reply::body)
        .containsExactly(503, "INITIALIZING\n");
  }

  @Test
  void listenersNameThePodAndTheCapturePort() throws IOException {
    assertThat(admin("GET", "/listeners").body())
        .isEqualTo("virtualOutbound|default/ratings-v1::0.0.0.0:15001\n");
    assertThat(admin("GET", "/listeners?format=json").body()).contains("\"port_value\": 15001");
  }

  @Test
  void theConfigurationDumpHasEnvoysTypesAndOurOwn() throws IOException {
    traffic();

    assertThat(admin("GET", "/config_dump").body())
        .contains("type.googleapis.com/envoy.admin.v3.ClustersConfigDump")
        .contains("type.googleapis.com/envoy.admin.v3.ListenersConfigDump")
        .contains("\"name\": \"" + WIKIPEDIA + "\"")
        .contains("\"limits.connectionsPerPod\": \"5000\"")
        .contains("\"generation\": 7")
        .contains("\"resource\": \"ServiceEntry/default/wikipedia\"")
        .contains("\"registry_only\": true");
  }

  @Test
  void serverInfoTellsVersionStateAndNode() throws IOException {
    assertThat(admin("GET", "/server_info").body())
        .contains("\"version\": \"abc1234/0.1.0/Clean/RELEASE/Tailwater\"")
        .contains("\"state\": \"LIVE\"")
        .contains("\"id\": \"n<1>\"");
  }

  @Test
  void drainingNeedsPostAndShowsInReady() throws IOException {
    Reply get = admin("GET", "/drain_listeners");
    assertThat(get.status()).isEqualTo(405);
    assertThat(get.body()).isEqualTo("Method GET not allowed, POST required.");
    assertThat(drained).hasValue("no");

    assertThat(admin("POST", "/drain_listeners?graceful").body()).isEqualTo("OK\n");
    assertThat(drained).hasValue("drained");
    assertThat(admin("GET", "/ready").body()).isEqualTo("DRAINING\n");

    admin("POST", "/drain_listeners?uninstall=true");
    assertThat(drained).hasValue("uninstalled");
  }

  @Test
  void logLevelsAreShownAndChanged() throws IOException {
    try {
      assertThat(admin("POST", "/logging").body()).startsWith("active loggers:\n  root: ");
      assertThat(admin("POST", "/logging?level=debug").body()).contains("\n  tailwater: debug\n");
      assertThat(admin("POST", "/logging?paths=tailwater:warning").body())
          .contains("\n  tailwater: warning\n");
    } finally {
      LogLevels.setAll("info");
    }
    assertThat(admin("POST", "/logging?level=loud"))
        .satisfies(r -> assertThat(r.status()).isEqualTo(400))
        .satisfies(r -> assertThat(r.body()).startsWith("error: unknown logger level\nusage: "));
    assertThat(admin("POST", "/logging?nobody=debug").body())
        .startsWith("error: unknown logger name");
    assertThat(admin("GET", "/logging").status()).isEqualTo(405);
  }

  @Test
  void anUnknownPathListsTheCommands() throws IOException {
    Reply reply = admin("GET", "/quitquitquit");

    assertThat(reply.status()).isEqualTo(404);
    assertThat(reply.body())
        .startsWith("invalid path. admin commands are:\n  /")
        .doesNotContain("quitquitquit");
    assertThat(admin("GET", "/help").body())
        .startsWith("admin commands are:\n")
        .contains("  /clusters: upstream cluster status\n");
  }

  // ---- our own pages

  @Test
  void theHomePageEscapesWhatItShows() throws IOException {
    Reply reply = admin("GET", "/");

    assertThat(reply.body()).contains("n&lt;1&gt;").doesNotContain("n<1>");
    assertThat(reply.head()).contains("default-src 'none'").contains("x-frame-options: DENY");
  }

  @Test
  void denialsShowTheYamlThatWouldAllowThem() throws IOException {
    refuse(new Preface.Tls(HostName.of("example.org"), false), Refusal.CONNECTION_CLOSED);

    assertThat(admin("GET", "/denials").body())
        .contains("default/ratings-v1")
        .contains("connection_closed")
        .contains("hosts: [\"example.org\"]")
        .contains("exportTo: [\".\"]");
    assertThat(admin("GET", "/denials?format=json").body())
        .contains("\"reason\": \"connection_closed\"")
        .contains("\"suggestion\": \"apiVersion");
    assertThat(admin("GET", "/denials?format=json&pod=other").body()).isEqualTo("[ ]\n");
  }

  @Test
  void aClaimedNameCannotMoveATerminalsCursorNorBreakJson() throws IOException {
    refuse(
        new Preface.MalformedTls("x", Optional.of("a\u001b[2J\r\n\"<script>\u202e")),
        Refusal.MALFORMED_HELLO);

    assertThat(admin("GET", "/denials").body())
        .contains("a\\u001b[2J\\u000d\\u000a")
        .doesNotContain("\u001b");
    assertThat(admin("GET", "/denials?format=json").body())
        .contains("a\\u001B[2J\\r\\n\\\"<script>")
        .doesNotContain("\u001b");
  }

  @Test
  void connectionsPodsAndInventoryAreShownForPeopleAndPrograms() throws IOException {
    live.add(connection(new Preface.Tls(HostName.of("de.wikipedia.org"), false)));
    refuse(new Preface.Tls(HostName.of("example.org"), false), Refusal.CONNECTION_CLOSED);

    assertThat(admin("GET", "/connections").body())
        .contains("POD")
        .contains("10.1.0.10:41022")
        .contains("de.wikipedia.org");
    assertThat(admin("GET", "/connections?format=json").body())
        .contains("\"name\": \"de.wikipedia.org\"")
        .contains("\"stage\": \"accepted\"");
    assertThat(admin("GET", "/pods").body()).contains("default/ratings-v1  captured  2");
    assertThat(admin("GET", "/pods?format=json").body()).contains("\"backend\": \"iptables-nft\"");
    assertThat(admin("GET", "/inventory").body()).contains("example.org").contains("tls");
    assertThat(admin("GET", "/inventory?format=json").body()).contains("\"refused\": 1");
    assertThat(admin("GET", "/explain?to=example.org:443").body())
        .isEqualTo("explained example.org:443\n");
  }

  // ---- metrics and readiness

  @Test
  void metricsAreOnePageUnderBothPaths() throws IOException {
    InetSocketAddress metrics = (InetSocketAddress) server.metricsAddress();

    Reply text = send(metrics, request("GET", "/metrics", "prometheus:1"));
    Reply open =
        send(
            metrics,
            request(
                "GET",
                "/stats/prometheus",
                "prometheus:1",
                "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5"));

    assertThat(text.status()).isEqualTo(200);
    assertThat(text.head()).contains("text/plain; version=0.0.4");
    assertThat(text.body()).contains("istio_build{").contains("process_open_fds ");
    assertThat(text.body())
        .contains("tailwater_connections_open 0.0\n")
        .contains("tailwater_pods{state=\"captured\",} 1.0\n")
        .contains("tailwater_policy_generation 7.0\n")
        .contains("tailwater_dns_events_total{event=\"dns_query_attempt\",} 0.0\n");
    assertThat(open.head()).contains("application/openmetrics-text");
    assertThat(open.body()).endsWith("# EOF\n");
    assertThat(send(metrics, request("GET", "/clusters", "x")).status()).isEqualTo(404);
    assertThat(send(metrics, request("POST", "/metrics", "x")).status()).isEqualTo(405);
  }

  /// The real thing, as Debian packages it.
  @Test
  void prometheusScrapesThePage() throws Exception {
    boolean there =
        Stream.of(System.getenv().getOrDefault("PATH", "").split(":"))
            .anyMatch(folder -> Files.isExecutable(Path.of(folder, "prometheus")));
    if (!there && "true".equals(System.getenv("CI"))) {
      fail("prometheus is missing: apt-get install --no-install-recommends prometheus");
    }
    Assumptions.assumeTrue(there, "skipped: prometheus is missing (package prometheus)");
    int port = ((InetSocketAddress) server.metricsAddress()).getPort();
    Path config = dir.resolve("prometheus.yml");
    Files.writeString(
        config,
        """
        scrape_configs:
          - job_name: tailwater
            scrape_interval: 1s
            static_configs: [{targets: ['127.0.0.1:%d']}]
        """
            .formatted(port));
    int web;
    try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      web = free.getLocalPort();
    }
    Process prometheus =
        new ProcessBuilder(
                "prometheus",
                "--config.file=" + config,
                "--storage.tsdb.path=" + dir.resolve("tsdb"),
                "--web.listen-address=127.0.0.1:" + web)
            .redirectErrorStream(true)
            .redirectOutput(dir.resolve("prometheus.log").toFile())
            .start();
    try {
      InetSocketAddress api = new InetSocketAddress(InetAddress.getLoopbackAddress(), web);
      String query = request("GET", "/api/v1/query?query=istio_build", "localhost");
      String answer = "";
      Instant deadline = Instant.now().plusSeconds(60);
      while (!answer.contains("\"component\":\"tailwater\"")
          && Instant.now().isBefore(deadline)
          && prometheus.isAlive()) {
        try {
          answer = send(api, query).body();
        } catch (ConnectException _) {
          // Not listening yet.
        }
        TimeUnit.MILLISECONDS.sleep(100);
      }

      assertThat(answer)
          .as(Files.readString(dir.resolve("prometheus.log")))
          .contains("\"component\":\"tailwater\"");
      assertThat(send(api, request("GET", "/api/v1/targets", "localhost")).body())
          .contains("\"health\":\"up\"")
          .contains("\"lastError\":\"\"");
    } finally {
      prometheus.destroy();
      if (!prometheus.waitFor(10, TimeUnit.SECONDS)) {
        prometheus.destroyForcibly().waitFor();
      }
    }
  }

  @Test
  void readinessNamesWhatIsPending() throws IOException {
    InetSocketAddress readiness = (InetSocketAddress) server.readinessAddress();
    assertThat(send(readiness, request("GET", "/healthz/ready", "10.0.0.1:15021")))
        .extracting(Reply::status, Reply::body)
        .containsExactly(200, "ready\n");

    pending.add("policy");
    pending.add("capture");

    assertThat(send(readiness, request("GET", "/healthz/ready", "10.0.0.1:15021")))
        .extracting(Reply::status, Reply::body)
        .containsExactly(500, "not ready, pending: capture, policy\n");
    assertThat(send(readiness, request("POST", "/healthz/ready", "x")).status()).isEqualTo(405);
  }

  // ---- attacks

  @ParameterizedTest
  @ValueSource(
      strings = {
        "attacker.example",
        "attacker.example:15000",
        "localhost.attacker.example",
        "127.0.0.1.attacker.example",
        "127.0.0.1:15000@attacker.example",
        "127.0.0.2",
        "[::1].x",
        "localhost:port",
        "",
        "localhost, attacker.example"
      })
  void aNameThatIsPointedAtUsIsNotServed(String host) throws IOException {
    assertThat(send(admin(), request("GET", "/clusters", host)).status()).isEqualTo(403);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"localhost", "LOCALHOST:15000", "127.0.0.1:15000", "[::1]:15000", "[::1]"})
  void localHostsAreServed(String host) throws IOException {
    assertThat(send(admin(), request("GET", "/ready", host)).status()).isEqualTo(200);
  }

  @Test
  void twoHostHeadersOrNoneAreNotServed() throws IOException {
    assertThat(
            send(admin(), request("GET", "/ready", "localhost", "Host: attacker.example")).status())
        .isIn(400, 403);
    assertThat(send(admin(), "GET /ready HTTP/1.0\r\n\r\n").status()).isEqualTo(403);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "Origin: http://attacker.example",
        "Origin: null",
        "Origin: http://localhost:3000",
        "Origin: https://localhost:15000",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Type: text/plain"
      })
  void aBrowserOfAStrangersPageChangesNothing(String header) throws IOException {
    assertThat(admin("POST", "/drain_listeners", header).status()).isEqualTo(403);
    assertThat(drained).hasValue("no");
  }

  @Test
  void ourOwnOriginAndCurlMayPost() throws IOException {
    assertThat(admin("POST", "/drain_listeners", "Origin: http://localhost:15000").status())
        .isEqualTo(200);
    assertThat(admin("POST", "/drain_listeners").status()).isEqualTo(200);
  }

  @Test
  void tooLongHeadsAreRefused() throws IOException {
    assertThat(admin("GET", "/ready", "X: " + "a".repeat(20_000)).status()).isEqualTo(431);
    assertThat(admin("GET", "/" + "a".repeat(5000)).status()).isEqualTo(414);
    assertThat(admin("GET", "/ready", "Content-Length: 10000000").status()).isEqualTo(413);
  }

  @Test
  void garbageIsABadRequest() throws IOException {
    assertThat(send(admin(), "\u0016\u0003\u0001 garbage\r\n\r\n").status()).isEqualTo(400);
    assertThat(admin("GET", "/stats?filter=%zz").status()).isEqualTo(400);
  }

  @Test
  void aRequestInManyPiecesIsOneRequest() throws IOException {
    try (Socket socket = new Socket(admin().getAddress(), admin().getPort())) {
      socket.setSoTimeout(20_000);
      socket.setTcpNoDelay(true);
      String request = request("GET", "/ready", "localhost", "X: " + "a".repeat(5000));
      for (int i = 0; i < request.length(); i += 100) {
        socket
            .getOutputStream()
            .write(
                request
                    .substring(i, Math.min(request.length(), i + 100))
                    .getBytes(StandardCharsets.UTF_8));
        socket.getOutputStream().flush();
      }

      assertThat(reply(readAll(socket)).body()).isEqualTo("LIVE\n");
    }
  }

  @Test
  void pipelinedRequestsAreAnsweredInTheirOrder() throws IOException {
    String kept = "GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n";
    String both =
        kept.formatted("explain?to=one")
            + kept.formatted("explain?to=two")
            + request("GET", "/ready", "localhost");
    try (Socket socket = new Socket(admin().getAddress(), admin().getPort())) {
      socket.setSoTimeout(20_000);
      socket.getOutputStream().write(both.getBytes(StandardCharsets.UTF_8));
      String all = new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

      assertThat(all).containsSubsequence("explained one", "explained two", "LIVE");
    }
  }

  @Test
  void aClientThatNeverEndsItsRequestIsLetGo() throws IOException {
    try (Socket socket = new Socket(admin().getAddress(), admin().getPort())) {
      socket.setSoTimeout(40_000);
      socket
          .getOutputStream()
          .write("GET / HTTP/1.1\r\nHost: loc".getBytes(StandardCharsets.UTF_8));

      assertThat(socket.getInputStream().read()).isEqualTo(-1);
    }
  }

  @Test
  void connectionsBeyondTheBoundAreClosedAndOthersGoOn() throws IOException {
    List<Socket> open = new ArrayList<>();
    try {
      for (int i = 0; i < 64; i++) {
        Socket socket = new Socket(admin().getAddress(), admin().getPort());
        socket.setSoTimeout(20_000);
        open.add(socket);
        // Answered: so it was counted.
        socket
            .getOutputStream()
            .write(
                "GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n".getBytes(StandardCharsets.UTF_8));
        assertThat(socket.getInputStream().read()).isEqualTo('H');
      }
      try (Socket more = new Socket(admin().getAddress(), admin().getPort())) {
        more.setSoTimeout(20_000);
        assertThat(more.getInputStream().read()).isEqualTo(-1);
      }
      Socket first = open.getFirst();
      first
          .getOutputStream()
          .write(request("GET", "/ready", "localhost").getBytes(StandardCharsets.UTF_8));
      assertThat(new String(readAll(first), StandardCharsets.UTF_8)).contains("LIVE");
    } finally {
      for (Socket socket : open) {
        socket.close();
      }
    }
  }

  private static byte[] readAll(Socket socket) throws IOException {
    InputStream in = socket.getInputStream();
    return in.readAllBytes();
  }

  // ---- addresses

  @Test
  void aPortThatIsTakenNamesTheKeyAndWhatToDo() {
    int taken = admin().getPort();

    assertThatThrownBy(() -> AdminServer.start(inputs("127.0.0.1:" + taken)))
        .isInstanceOf(AdminException.class)
        .hasMessageStartingWith("admin: 127.0.0.1:" + taken + " cannot be bound")
        .hasMessageContaining("Set `admin` to a free address");
  }

  @Test
  void servesOverAUnixSocketAndTakesTheSocketOfADeadAgentOver() throws IOException {
    Path socket = dir.resolve("run/admin.sock");
    try (AdminServer first = AdminServer.start(inputs("unix:" + socket))) {
      assertThat(overUnix(socket).body()).isEqualTo("LIVE\n");
      assertThat(first.adminAddress()).isNotNull();
      assertThatThrownBy(() -> AdminServer.start(inputs("unix:" + socket)))
          .isInstanceOf(AdminException.class);
      assertThat(overUnix(socket).body()).as("the living agent is still there").isEqualTo("LIVE\n");
    }
    assertThat(socket).doesNotExist();

    try (var dead =
        java.nio.channels.ServerSocketChannel.open(java.net.StandardProtocolFamily.UNIX)) {
      dead.bind(UnixDomainSocketAddress.of(socket));
    }
    assertThat(socket).exists();
    try (AdminServer next = AdminServer.start(inputs("unix:" + socket))) {
      assertThat(next.adminAddress()).isNotNull();
      assertThat(overUnix(socket).body()).isEqualTo("LIVE\n");
    }
  }

  private static Reply overUnix(Path socket) throws IOException {
    try (SocketChannel channel = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
      channel.write(
          ByteBuffer.wrap(request("GET", "/ready", "whatever").getBytes(StandardCharsets.UTF_8)));
      return reply(java.nio.channels.Channels.newInputStream(channel).readAllBytes());
    }
  }
}
