package io.tailwater.agent.dataplane.flow;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.connect.OpensslAuthority;
import io.tailwater.agent.dataplane.connect.OpensslServer;
import io.tailwater.agent.dataplane.flow.FlowRig.Way;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.LoadBalancing;
import io.tailwater.agent.dataplane.route.OutlierDetection;
import io.tailwater.agent.dataplane.route.UpstreamTls;
import io.tailwater.agent.dataplane.upstream.Cluster;
import io.tailwater.agent.dataplane.upstream.Endpoint;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.Refusal;
import java.io.IOException;
import java.net.ServerSocket;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// What a DestinationRule says of connections, carried out: TLS, limits, outlier detection,
/// balancing and times.
@Timeout(60)
class FlowUpstreamTest {
  @TempDir static Path folder;
  private static OpensslAuthority authority;
  private static OpensslAuthority.Leaf leaf;

  private Optional<UpstreamTls> tls = Optional.empty();
  private ConnectionPolicy.Limits limits = ConnectionPolicy.Limits.NONE;
  private @Nullable Duration connectTimeout;
  private @Nullable Duration idleTimeout;
  private @Nullable Duration longest;
  private ConnectionPolicy.@Nullable KeepAlive keepAlive;
  private LoadBalancing.Kind balancing = LoadBalancing.Kind.LEAST_REQUEST;
  private @Nullable OutlierDetection outlier;

  @BeforeAll
  static void makeCertificates() {
    authority = new OpensslAuthority(folder);
    leaf = authority.issue("DNS:api.example.com");
  }

  private ConnectionPolicy policy() {
    return new ConnectionPolicy(
        tls,
        limits,
        Optional.ofNullable(connectTimeout),
        Optional.ofNullable(idleTimeout),
        Optional.ofNullable(longest),
        Optional.ofNullable(keepAlive),
        new LoadBalancing(balancing, false),
        Optional.ofNullable(outlier),
        ConnectionPolicy.Http.DEFAULT);
  }

  private static Optional<UpstreamTls> simple(String ca, String... sans) {
    return Optional.of(
        new UpstreamTls(
            UpstreamTls.Mode.SIMPLE,
            Optional.empty(),
            List.of(sans),
            true,
            Optional.of(ca),
            Optional.empty(),
            Optional.empty(),
            Optional.empty(),
            false,
            "TLSv1.2",
            "TLSv1.3",
            List.of()));
  }

  private FlowRig rig(Way way, int... ports) throws IOException {
    var endpoints =
        java.util.Arrays.stream(ports)
            .mapToObj(FlowRig::address)
            .toArray(io.tailwater.agent.dataplane.route.Target.Endpoint[]::new);
    return FlowRig.of(way, FlowRig.atOnce(FlowRig.forward(policy(), endpoints)));
  }

  private static Cluster cluster(FlowRig rig) {
    return rig.clusters.cluster(FlowRig.CLUSTER);
  }

  private static Endpoint endpoint(FlowRig rig, int port) {
    return cluster(rig).endpoints().stream()
        .filter(e -> e.address().getPort() == port)
        .findFirst()
        .orElseThrow();
  }

  private static String detail(Outcome outcome) {
    return ((Outcome.Refused) outcome).detail();
  }

  // ---- TLS

  @ParameterizedTest
  @EnumSource(Way.class)
  void bytesAreWrappedInTlsAndAHalfCloseIsACloseNotify(Way way) throws Exception {
    tls = simple(authority.certificate().toString(), "api.example.com");
    try (OpensslServer server = OpensslServer.start(folder, leaf);
        FlowRig rig = rig(way, server.port())) {
      SocketChannel client = rig.connect();
      FlowRig.write(client, "stressed\n".getBytes(US_ASCII));
      assertThat(FlowRig.read(client, 9)).asString(US_ASCII).isEqualTo("desserts\n");
      assertThat(rig.workers.snapshot().join().getFirst().grade()).contains(Grade.COPY);

      client.shutdownOutput();
      assertThat(FlowRig.readToEnd(client)).isEmpty();
      FlowRig.Told one = rig.ended();
      assertThat(one.outcome).isEqualTo(new Outcome.Finished());
      assertThat(one.sent.sum()).as("without what TLS adds").isEqualTo(9);
      assertThat(one.received.sum()).isEqualTo(9);
      assertThat(endpoint(rig, server.port()).cxTotal()).isOne();
      assertThat(endpoint(rig, server.port()).cxActive()).isZero();
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aServerOfAnotherAuthorityIsRefusedAndCountedAsAFailedConnection(Way way) throws Exception {
    tls = simple(leaf.certificate().toString());
    try (OpensslServer server = OpensslServer.start(folder, authority.issue("DNS:a.example"));
        FlowRig rig = rig(way, server.port())) {
      rig.connect();
      Outcome outcome = rig.refusedWith(Refusal.CONNECT_FAILED);
      assertThat(detail(outcome))
          .startsWith("TLS to 127.0.0.1:" + server.port() + " failed: no authority in")
          .contains(leaf.certificate().toString());
      assertThat(endpoint(rig, server.port()).cxConnectFail()).isOne();
      assertThat(endpoint(rig, server.port()).cxActive()).isZero();
      assertThat(cluster(rig).admitConnection(new ConnectionPolicy.Limits(1, 1, 1, 1, 0)))
          .as("its place was given back")
          .isTrue();
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void whereTheAuthoritiesCannotBeReadNobodyIsDialled(Way way) throws Exception {
    tls = simple("/nowhere/ca.pem");
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = rig(way, FlowRig.port(upstream))) {
      rig.connect();
      Outcome outcome = rig.refusedWith(Refusal.CONNECT_FAILED);
      assertThat(detail(outcome)).contains("there is no file /nowhere/ca.pem");
      assertThat(rig.only().events).doesNotContain("opened");
      upstream.configureBlocking(false);
      assertThat(upstream.accept()).isNull();
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void theConnectTimeoutHoldsForTheHandshakeToo(Way way) throws Exception {
    tls = simple(authority.certificate().toString());
    connectTimeout = Duration.ofMillis(400);
    try (ServerSocket silent = new ServerSocket(0, 5, FlowRig.LOOPBACK);
        FlowRig rig = rig(way, silent.getLocalPort())) {
      rig.connect();
      assertThat(detail(rig.refusedWith(Refusal.CONNECT_FAILED)))
          .endsWith("the server did not finish the handshake in time");
    }
  }

  @ParameterizedTest
  @EnumSource(value = Way.class, names = "EPOLL") // NIO learns of a reset when it reads
  void aClientThatGoesAwayDuringTheHandshakeLeavesNothing(Way way) throws Exception {
    tls = simple(authority.certificate().toString());
    try (ServerSocketChannel silent = FlowRig.upstream();
        FlowRig rig = rig(way, FlowRig.port(silent))) {
      SocketChannel client = rig.connect();
      SocketChannel server = silent.accept();
      assertThat(FlowRig.read(server, 1)).containsExactly(22); // a handshake record
      FlowRig.reset(client);
      assertThat(rig.ended().outcome).isEqualTo(new Outcome.ClientGone());
      FlowRig.readToEnd(server);
    }
  }

  // ---- limits, health, balancing

  @ParameterizedTest
  @EnumSource(Way.class)
  void oneConnectionTooManyIsRefusedUntilOneHasEnded(Way way) throws Exception {
    limits = new ConnectionPolicy.Limits(1, 1, 1, 1, 0);
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = rig(way, FlowRig.port(upstream))) {
      SocketChannel first = rig.connect();
      SocketChannel server = upstream.accept();
      rig.awaitRelaying();

      rig.connect();
      FlowRig.await("a refusal", () -> rig.told.size() == 2 && rig.told.get(1).outcome != null);
      assertThat(rig.told.get(1).outcome)
          .isEqualTo(
              new Outcome.Refused(
                  Refusal.LIMIT, "maxConnections (1) of the destination is reached"));
      assertThat(cluster(rig).connectionOverflowCount()).isOne();

      first.close();
      server.close();
      FlowRig.await("the end", () -> rig.told.get(0).outcome != null);
      SocketChannel third = rig.connect();
      SocketChannel again = upstream.accept();
      rig.awaitRelaying();
      third.close();
      again.close();
      FlowRig.await("the end", () -> rig.told.size() == 3 && rig.told.get(2).outcome != null);
      rig.assertNothingIsLeft();
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void anEndpointThatFailsIsLeftOutAndTheOtherTakesAll(Way way) throws Exception {
    balancing = LoadBalancing.Kind.ROUND_ROBIN;
    outlier =
        new OutlierDetection(
            1, 0, Optional.empty(), Duration.ofSeconds(10), Duration.ofMinutes(5), 50, 0);
    int dead = FlowRig.closedPort();
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = rig(way, dead, FlowRig.port(upstream))) {
      for (int i = 0; i < 6; i++) {
        SocketChannel client = rig.connect();
        upstream.accept().close();
        FlowRig.readToEnd(client);
        client.close();
        int so = i;
        FlowRig.await("the end", () -> rig.told.size() > so && rig.told.get(so).outcome != null);
      }
      assertThat(endpoint(rig, dead).cxConnectFail()).as("tried once").isOne();
      assertThat(endpoint(rig, dead).ejected(System.nanoTime())).isTrue();
      assertThat(endpoint(rig, FlowRig.port(upstream)).cxTotal()).isEqualTo(6);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void whereTheOnlyEndpointRestsNobodyIsDialled(Way way) throws Exception {
    outlier =
        new OutlierDetection(
            1, 0, Optional.empty(), Duration.ofSeconds(10), Duration.ofMinutes(5), 10, 0);
    int dead = FlowRig.closedPort();
    try (FlowRig rig = rig(way, dead)) {
      rig.connect();
      rig.refusedWith(Refusal.CONNECT_FAILED);
      rig.told.clear();
      rig.connect();
      assertThat(detail(rig.refusedWith(Refusal.NO_HEALTHY_UPSTREAM)))
          .isEqualTo("its endpoint rests after failures (outlierDetection)");
      assertThat(cluster(rig).noneHealthyCount()).isOne();
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void withASourceHashAClientComesBackToItsEndpoint(Way way) throws Exception {
    balancing = LoadBalancing.Kind.SOURCE_HASH;
    try (ServerSocketChannel one = FlowRig.upstream();
        ServerSocketChannel two = FlowRig.upstream();
        FlowRig rig = rig(way, FlowRig.port(one), FlowRig.port(two))) {
      for (int i = 0; i < 8; i++) {
        SocketChannel client = rig.connect();
        int so = i + 1;
        FlowRig.await(
            "a connection",
            () -> cluster(rig).endpoints().stream().mapToLong(Endpoint::cxTotal).sum() == so);
        FlowRig.reset(client);
      }
      assertThat(cluster(rig).endpoints()).filteredOn(e -> e.cxTotal() == 8).hasSize(1);
    }
  }

  // ---- times

  @ParameterizedTest
  @EnumSource(Way.class)
  void noConnectionLastsLongerThanItsDestinationAllows(Way way) throws Exception {
    longest = Duration.ofMillis(300);
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = rig(way, FlowRig.port(upstream))) {
      rig.connect();
      upstream.accept();
      assertThat(rig.ended().outcome).isEqualTo(new Outcome.TimeLimit());
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void theIdleTimeoutOfTheDestinationComesBeforeTheAgents(Way way) throws Exception {
    idleTimeout = Duration.ofSeconds(1);
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = rig(way, FlowRig.port(upstream))) {
      rig.connect();
      upstream.accept();
      assertThat(rig.ended().outcome).isEqualTo(new Outcome.IdleTimeout());
      assertThat(cluster(rig).idleTimeoutCount()).isOne();
    }
  }

  @ParameterizedTest
  @EnumSource(value = Way.class, names = "EPOLL") // Java's own sockets have no such options
  void keepAliveProbesAreSentAsTheDestinationWants(Way way) throws Exception {
    keepAlive =
        new ConnectionPolicy.KeepAlive(
            Optional.of(3),
            Optional.of(Duration.ofMinutes(50)),
            Optional.of(Duration.ofSeconds(7)));
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = rig(way, FlowRig.port(upstream))) {
      SocketChannel client = rig.connect();
      SocketChannel server = upstream.accept();
      rig.awaitRelaying();
      Process ss = new ProcessBuilder("ss", "-Htno", "dport = :" + FlowRig.port(upstream)).start();
      String sockets = new String(ss.getInputStream().readAllBytes(), US_ASCII);
      assertThat(sockets).containsPattern("keepalive,(49|50)min");
      client.close();
      server.close();
      rig.ended();
    }
  }
}
