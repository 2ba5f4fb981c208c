package io.tailwater.agent.dataplane.flow;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.flow.FlowRig.Way;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.sniff.ClientHelloBytes;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.dataplane.upstream.Cluster;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// Connections that do not get where they want to go: why is told once, the client sees a reset,
/// and every limit is counted back.
@Timeout(60)
class FlowRefusalTest {
  private static final HostName EN = HostName.of("en.example.com");
  private static final byte[] HELLO = ClientHelloBytes.named("en.example.com").record();
  private static final InetAddress TEN = InetAddress.ofLiteral("10.1.2.3");

  static void assertReset(SocketChannel channel) {
    ByteBuffer buffer = ByteBuffer.allocate(4096);
    assertThatThrownBy(
            () -> {
              while (channel.read(buffer.clear()) >= 0) {
                // until the reset
              }
            })
        .isInstanceOf(IOException.class);
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aGarbledHelloIsRefused(Way way) throws Exception {
    try (FlowRig rig = FlowRig.of(way, FlowRig.byName(1))) {
      SocketChannel client = rig.connect();
      FlowRig.write(client, new byte[] {22, 3, 1, 0, 4, 99, 0, 0, 0});
      assertReset(client);
      Outcome.Refused refused = (Outcome.Refused) rig.refusedWith(Refusal.MALFORMED_HELLO);
      assertThat(refused.detail()).isNotEmpty();
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aHelloThatIsCutShortByFinIsRefused(Way way) throws Exception {
    try (FlowRig rig = FlowRig.of(way, FlowRig.byName(1))) {
      SocketChannel client = rig.connect();
      FlowRig.write(client, java.util.Arrays.copyOf(HELLO, HELLO.length - 1));
      client.shutdownOutput();
      assertReset(client);
      rig.refusedWith(Refusal.MALFORMED_HELLO);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aClientThatIsSilentWhereTheNameDecidesIsRefusedAfterTheDeadline(Way way) throws Exception {
    try (FlowRig rig = new FlowRig(way, FlowRig.hasty(), FlowRig.byName(1))) {
      SocketChannel client = rig.connect();
      assertReset(client);
      rig.refusedWith(Refusal.HELLO_TIMEOUT);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void whereTheNameDoesNotMatterARefusalStillWaitsForItAndRecordsIt(Way way) throws Exception {
    try (FlowRig rig = FlowRig.of(way, FlowRig.atOnce(FlowRig.refuse(Refusal.CONNECTION_CLOSED)))) {
      SocketChannel client = rig.connect();
      FlowRig.write(client, HELLO);
      assertReset(client);
      rig.refusedWith(Refusal.CONNECTION_CLOSED);
      assertThat(rig.only().record.preface())
          .isInstanceOfSatisfying(Preface.Tls.class, tls -> assertThat(tls.sni()).isEqualTo(EN));
      assertThat(rig.only().events).containsExactly("accepted", "ended");
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aRefusalDoesNotWaitLongForASilentClient(Way way) throws Exception {
    try (FlowRig rig = FlowRig.of(way, FlowRig.atOnce(FlowRig.refuse(Refusal.CONNECTION_CLOSED)))) {
      SocketChannel client = rig.connect();
      assertReset(client);
      rig.refusedWith(Refusal.CONNECTION_CLOSED);
      assertThat(rig.only().record.preface()).isEqualTo(new Preface.Silent());
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void whatIsReachedThroughATunnelIsNotSentInTheClear(Way way) throws Exception {
    Target.Endpoint tunnelled =
        new Target.Endpoint.Address(
            new InetSocketAddress(FlowRig.LOOPBACK, 1), new Target.Traits(1, "", true));
    try (FlowRig rig = FlowRig.of(way, FlowRig.atOnce(FlowRig.forward("web", false, tunnelled)))) {
      SocketChannel client = rig.connect();
      assertReset(client);
      rig.refusedWith(Refusal.NOT_SUPPORTED_YET);
    }
  }

  @Test
  void aDirectHitOnTheCapturePortIsRefused() throws Exception {
    try (FlowRig rig = FlowRig.of(Way.NIO, FlowRig.atOnce(FlowRig.passthrough()))) {
      rig.dialled = new OriginalDst(FlowRig.LOOPBACK, 0); // was not redirected
      assertReset(rig.connect());
      rig.refusedWith(Refusal.DIRECT_HIT);
    }
  }

  @Test
  void aNameThatDoesNotResolveIsRefused() throws Exception {
    try (FlowRig rig = FlowRig.of(Way.NIO, FlowRig.byName(1))) {
      rig.dns.put(EN, new Addresses.Failed(Addresses.Failure.NO_SUCH_NAME, "NXDOMAIN"));
      SocketChannel client = rig.connect();
      FlowRig.write(client, HELLO);
      assertReset(client);
      assertThat(rig.refusedWith(Refusal.DNS_FAILURE))
          .isEqualTo(new Outcome.Refused(Refusal.DNS_FAILURE, "NXDOMAIN"));
      assertThat(rig.clusters.cluster(FlowRig.CLUSTER).noneHealthyCount()).isOne();
    }
  }

  @Test
  void aNameWithNothingButFilteredAddressesIsRefused() throws Exception {
    try (FlowRig rig = FlowRig.of(Way.NIO, FlowRig.byName(1))) {
      rig.dns.put(EN, new Addresses.Found(List.of(TEN), false));
      SocketChannel client = rig.connect();
      FlowRig.write(client, HELLO);
      assertReset(client);
      rig.refusedWith(Refusal.ADDRESS_FILTERED);
    }
  }

  @Test
  void filteredAddressesAreLeftOutAndTheOthersDialled() throws Exception {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = FlowRig.of(Way.NIO, FlowRig.byName(FlowRig.port(upstream)))) {
      rig.dns.put(EN, new Addresses.Found(List.of(TEN, FlowRig.LOOPBACK), false));
      SocketChannel client = rig.connect();
      FlowRig.write(client, HELLO);
      SocketChannel server = upstream.accept();
      assertThat(FlowRig.read(server, HELLO.length)).isEqualTo(HELLO);
      assertThat(rig.clusters.cluster(FlowRig.CLUSTER).endpoints()).hasSize(1);
      client.close();
      server.close();
    }
  }

  @Test
  void underAuditAFilteredNamePassesToTheDialledAddress() throws Exception {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = FlowRig.of(Way.NIO, audited())) {
      rig.dialled = new OriginalDst(FlowRig.LOOPBACK, FlowRig.port(upstream));
      rig.dns.put(EN, new Addresses.Found(List.of(TEN), false));
      SocketChannel client = rig.connect();
      FlowRig.write(client, HELLO);
      SocketChannel server = upstream.accept();
      assertThat(FlowRig.read(server, HELLO.length)).isEqualTo(HELLO);
      client.close();
      server.close();
      FlowRig.Told one = rig.ended();
      assertThat(one.record.decision().orElseThrow())
          .isInstanceOfSatisfying(
              Decision.Passthrough.class,
              p -> assertThat(p.wouldBlock()).contains(Refusal.ADDRESS_FILTERED));
    }
  }

  @Test
  void underAuditADialledAddressThatIsFilteredItselfIsStillRefused() throws Exception {
    try (FlowRig rig = FlowRig.of(Way.NIO, audited())) {
      rig.dialled = new OriginalDst(TEN, 443);
      rig.dns.put(EN, new Addresses.Found(List.of(TEN), false));
      SocketChannel client = rig.connect();
      FlowRig.write(client, HELLO);
      assertReset(client);
      rig.refusedWith(Refusal.ADDRESS_FILTERED);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void anUpstreamThatRefusesIsCountedAndTold(Way way) throws Exception {
    int closed = FlowRig.closedPort();
    try (FlowRig rig = FlowRig.of(way, to(FlowRig.address(closed)))) {
      assertReset(rig.connect());
      rig.refusedWith(Refusal.CONNECT_FAILED);
      assertThat(rig.only().events).containsExactly("accepted", "opened", "ended");
      Cluster cluster = rig.clusters.cluster(FlowRig.CLUSTER);
      assertThat(cluster.endpoints().getFirst().cxConnectFail()).isOne();
      assertThat(cluster.endpoints().getFirst().cxActive()).isZero();
      assertThat(cluster.connectTimeoutCount()).isZero();
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void anUpstreamThatDoesNotAnswerTimesOut(Way way) throws Exception {
    try (BlackHole hole = new BlackHole();
        FlowRig rig = new FlowRig(way, FlowRig.hasty(), to(FlowRig.address(hole.port())))) {
      assertReset(rig.connect());
      rig.refusedWith(Refusal.CONNECT_FAILED);
      assertThat(rig.clusters.cluster(FlowRig.CLUSTER).connectTimeoutCount()).isOne();
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void theNextCandidateIsTakenWhenTheFirstRefuses(Way way) throws Exception {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig =
            FlowRig.of(
                way,
                to(
                    FlowRig.address(FlowRig.closedPort()),
                    FlowRig.address(FlowRig.port(upstream))))) {
      SocketChannel client = rig.connect();
      SocketChannel server = upstream.accept();
      client.close();
      server.close();
      FlowRig.Told one = rig.ended();
      assertThat(one.record.upstream())
          .contains(new InetSocketAddress(FlowRig.LOOPBACK, FlowRig.port(upstream)));
      assertThat(rig.clusters.cluster(FlowRig.CLUSTER).endpoints()).hasSize(2);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void theNextCandidateIsTakenWhenTheFirstHangs(Way way) throws Exception {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        BlackHole hole = new BlackHole();
        FlowRig rig =
            FlowRig.of(
                way, to(FlowRig.address(hole.port()), FlowRig.address(FlowRig.port(upstream))))) {
      SocketChannel client = rig.connect();
      SocketChannel server = upstream.accept();
      client.close();
      server.close();
      assertThat(rig.ended().record.upstream())
          .contains(new InetSocketAddress(FlowRig.LOOPBACK, FlowRig.port(upstream)));
    }
  }

  @Test
  void limitsRefuseWhatIsTooMuchAndAreCountedBack() throws Exception {
    for (FlowLimits limits :
        List.of(
            FlowRig.limits(2, 100, 100),
            FlowRig.limits(100, 2, 100),
            FlowRig.limits(100, 100, 2))) {
      try (FlowRig rig = new FlowRig(Way.NIO, limits, FlowRig.byName(1))) {
        SocketChannel first = rig.connect();
        SocketChannel second = rig.connect();
        FlowRig.await("two sniffing", () -> rig.admission.handshakes() == 2);
        assertReset(rig.connect());
        FlowRig.await("a refusal", () -> rig.told.size() == 3);
        FlowRig.await("its end", () -> rig.told.get(2).outcome != null);
        assertThat(rig.told.get(2).outcome)
            .isInstanceOfSatisfying(
                Outcome.Refused.class, r -> assertThat(r.why()).isEqualTo(Refusal.LIMIT));
        assertThat(rig.told.get(2).events).containsExactly("accepted", "ended");
        first.close();
        second.close();
        rig.assertNothingIsLeft();
      }
    }
  }

  private static FlowRig.Table to(Target.Endpoint... endpoints) {
    return FlowRig.atOnce(FlowRig.forward("en.example.com", false, endpoints));
  }

  private static FlowRig.Table audited() {
    return new FlowRig.Table(
        1,
        ClientView.Ask.PREFACE,
        _ -> FlowRig.forward("en.example.com", true, new Target.Endpoint.Name(EN, 443)));
  }

  /// A listener whose queue is full: the kernel drops further SYNs.
  static final class BlackHole implements AutoCloseable {
    private final ServerSocketChannel listener;
    private final List<SocketChannel> waiting = new ArrayList<>();

    BlackHole() throws IOException {
      listener = ServerSocketChannel.open().bind(new InetSocketAddress(FlowRig.LOOPBACK, 0), 1);
      for (int i = 0; i < 4; i++) {
        SocketChannel one = SocketChannel.open();
        one.configureBlocking(false);
        one.connect(listener.getLocalAddress());
        waiting.add(one);
      }
      FlowRig.await("a full queue", () -> waiting.stream().filter(this::connected).count() >= 2);
    }

    private boolean connected(SocketChannel one) {
      try {
        return one.isConnected() || one.finishConnect();
      } catch (IOException e) {
        throw new java.io.UncheckedIOException(e);
      }
    }

    int port() throws IOException {
      return FlowRig.port(listener);
    }

    @Override
    public void close() throws IOException {
      for (SocketChannel one : waiting) {
        one.close();
      }
      listener.close();
    }
  }
}
