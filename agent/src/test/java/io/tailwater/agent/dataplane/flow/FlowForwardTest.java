package io.tailwater.agent.dataplane.flow;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.flow.FlowRig.Way;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.sniff.ClientHelloBytes;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.dataplane.upstream.Endpoint;
import io.tailwater.agent.traffic.Grade;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import java.net.InetSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// Connections that get where they want to go.
@Timeout(60)
class FlowForwardTest {
  private static final HostName EN = HostName.of("en.example.com");
  private static final byte[] HELLO =
      ClientHelloBytes.named("en.example.com").browser().records(700);

  @ParameterizedTest
  @EnumSource(Way.class)
  void tlsIsForwardedByNameToTheResolvedAddress(Way way) throws Exception {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = FlowRig.of(way, FlowRig.byName(FlowRig.port(upstream)))) {
      rig.dns.put(EN, new Addresses.Found(List.of(FlowRig.LOOPBACK), false));
      SocketChannel client = rig.connect();
      FlowRig.write(client, HELLO);
      SocketChannel server = upstream.accept();
      assertThat(FlowRig.read(server, HELLO.length)).isEqualTo(HELLO);
      FlowRig.write(server, "answer".getBytes(US_ASCII));
      assertThat(FlowRig.read(client, 6)).asString(US_ASCII).isEqualTo("answer");

      ConnectionRecord live = rig.workers.snapshot().join().getFirst();
      assertThat(live.stage()).isEqualTo("relaying");
      assertThat(live.grade()).contains(way == Way.EPOLL ? Grade.SPLICE : Grade.COPY);
      assertThat(live.bytesSent()).isEqualTo(HELLO.length);
      assertThat(live.bytesReceived()).isEqualTo(6);

      client.shutdownOutput();
      assertThat(FlowRig.readToEnd(server)).isEmpty();
      server.close();
      assertThat(FlowRig.readToEnd(client)).isEmpty();
      FlowRig.Told one = rig.ended();
      assertThat(one.outcome).isEqualTo(new Outcome.Finished());
      assertThat(one.events).containsExactly("accepted", "opened", "ended");
      assertThat(one.sent.sum()).isEqualTo(HELLO.length);
      assertThat(one.received.sum()).isEqualTo(6);
      assertThat(one.record.preface()).isInstanceOf(Preface.Tls.class);
      assertThat(one.record.upstream())
          .contains(new InetSocketAddress(FlowRig.LOOPBACK, FlowRig.port(upstream)));
      Endpoint endpoint = rig.clusters.cluster(FlowRig.CLUSTER).endpoints().getFirst();
      assertThat(endpoint.hostname()).isEqualTo("en.example.com");
      assertThat(endpoint.cxTotal()).isOne();
      assertThat(endpoint.cxActive()).isZero();
      assertThat(rig.clusters.cluster(FlowRig.CLUSTER).bytesToUpstream()).isEqualTo(HELLO.length);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aHelloThatComesByteByByteIsPassedOnUnchanged(Way way) throws Exception {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = FlowRig.of(way, FlowRig.byName(FlowRig.port(upstream)))) {
      rig.dns.put(EN, new Addresses.Found(List.of(FlowRig.LOOPBACK), false));
      SocketChannel client = rig.connect();
      client.setOption(java.net.StandardSocketOptions.TCP_NODELAY, true);
      for (int i = 0; i < 40; i++) {
        FlowRig.write(client, Arrays.copyOfRange(HELLO, i, i + 1));
      }
      FlowRig.await("sniffing", () -> rig.admission.handshakes() == 1);
      FlowRig.write(client, Arrays.copyOfRange(HELLO, 40, HELLO.length));
      SocketChannel server = upstream.accept();
      assertThat(FlowRig.read(server, HELLO.length)).isEqualTo(HELLO);
      FlowRig.reset(client);
      assertThat(rig.ended().outcome).isEqualTo(new Outcome.Reset(true));
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aServerThatSpeaksFirstIsHeardBeforeTheClientSaysAWord(Way way) throws Exception {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = FlowRig.of(way, FlowRig.atOnce(FlowRig.passthrough()))) {
      rig.dialled = new OriginalDst(FlowRig.LOOPBACK, FlowRig.port(upstream));
      SocketChannel client = rig.connect();
      SocketChannel server = upstream.accept();
      FlowRig.write(server, "220 ready".getBytes(US_ASCII));
      assertThat(FlowRig.read(client, 9)).asString(US_ASCII).isEqualTo("220 ready");

      // The first client bytes are read in passing, for the record.
      FlowRig.write(client, HELLO);
      assertThat(FlowRig.read(server, HELLO.length)).isEqualTo(HELLO);
      client.close();
      server.close();
      FlowRig.Told one = rig.ended();
      assertThat(one.record.preface()).isInstanceOf(Preface.Tls.class);
      assertThat(one.record.decision()).contains(FlowRig.passthrough());
      assertThat(rig.clusters.cluster(Decision.PASSTHROUGH).endpoints()).hasSize(1);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aServerThatGreetsAndClosesAtOnceIsHeardToTheEnd(Way way) throws Exception {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = FlowRig.of(way, FlowRig.atOnce(FlowRig.passthrough()))) {
      rig.dialled = new OriginalDst(FlowRig.LOOPBACK, FlowRig.port(upstream));
      byte[] greeting = new byte[30_000];
      Arrays.fill(greeting, (byte) 'x');
      for (int i = 0; i < 50; i++) {
        try (SocketChannel client = rig.connect()) {
          try (SocketChannel server = upstream.accept()) {
            FlowRig.write(server, greeting);
          }
          assertThat(FlowRig.readToEnd(client)).isEqualTo(greeting);
        }
      }
      FlowRig.await(
          "all ended", () -> rig.told.stream().filter(t -> t.outcome != null).count() == 50);
      rig.assertNothingIsLeft();
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aClientThatSendsItsFinWhileTheNameIsLookedUpStillGetsItsAnswer(Way way) throws Exception {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = FlowRig.of(way, FlowRig.byName(FlowRig.port(upstream)))) {
      rig.dns.put(EN, new Addresses.Found(List.of(FlowRig.LOOPBACK), false));
      rig.dnsIsSlow = true;
      SocketChannel client = rig.connect();
      FlowRig.write(client, HELLO);
      FlowRig.await("a question", () -> rig.laterAnswers.size() == 1);
      byte[] more = new byte[200_000];
      Arrays.fill(more, (byte) 'm');
      FlowRig.write(client, more);
      client.shutdownOutput();
      // The loop has seen the FIN before the answer comes.
      rig.workers.snapshot().join();
      rig.workers.snapshot().join();
      rig.laterAnswers.getFirst().run();

      SocketChannel server = upstream.accept();
      byte[] got = FlowRig.readToEnd(server);
      assertThat(got).hasSize(HELLO.length + more.length).startsWith(HELLO).endsWith(more);
      FlowRig.write(server, "answer".getBytes(US_ASCII));
      server.close();
      assertThat(FlowRig.readToEnd(client)).asString(US_ASCII).isEqualTo("answer");
      assertThat(rig.ended().outcome).isEqualTo(new Outcome.Finished());
    }
  }

  @Test
  void aConnectionIsJudgedByTheTableThatItBeganWith() throws Exception {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = FlowRig.of(Way.NIO, FlowRig.byName(FlowRig.port(upstream)))) {
      rig.dns.put(EN, new Addresses.Found(List.of(FlowRig.LOOPBACK), false));
      SocketChannel client = rig.connect();
      FlowRig.write(client, Arrays.copyOf(HELLO, 10));
      FlowRig.await("sniffing", () -> rig.admission.handshakes() == 1);
      rig.routes.publish(
          new FlowRig.Table(
              2, ClientView.Ask.PREFACE, _ -> FlowRig.refuse(Refusal.CONNECTION_CLOSED)));
      FlowRig.write(client, Arrays.copyOfRange(HELLO, 10, HELLO.length));
      SocketChannel server = upstream.accept();
      assertThat(FlowRig.read(server, HELLO.length)).isEqualTo(HELLO);

      // The next one meets the new table.
      SocketChannel next = rig.connect();
      FlowRig.write(next, HELLO);
      FlowRig.await("a refusal", () -> rig.told.size() == 2 && rig.told.get(1).outcome != null);
      assertThat(rig.told.get(1).outcome)
          .isEqualTo(new Outcome.Refused(Refusal.CONNECTION_CLOSED, ""));
      assertThat(rig.told.getFirst().outcome).isNull();
      client.close();
      server.close();
    }
  }

  @Test
  void endingThePodResetsItsConnections() throws Exception {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = FlowRig.of(Way.EPOLL, FlowRig.atOnce(FlowRig.passthrough()))) {
      rig.dialled = new OriginalDst(FlowRig.LOOPBACK, FlowRig.port(upstream));
      SocketChannel client = rig.connect();
      SocketChannel server = upstream.accept();
      rig.awaitRelaying();
      rig.workers.endAll(rig.pod);
      assertThat(rig.ended().outcome).isEqualTo(new Outcome.Drained());
      FlowRefusalTest.assertReset(client);
      FlowRefusalTest.assertReset(server);
    }
  }
}
