package io.tailwater.agent.dataplane.flow;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.account.HttpExchange;
import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.flow.FlowRig.Told;
import io.tailwater.agent.dataplane.flow.FlowRig.Way;
import io.tailwater.agent.dataplane.resolve.Addresses;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.dataplane.upstream.Endpoint;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.StandardSocketOptions;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// A connection whose requests are decided one by one.
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class FlowRequestsTest {
  private static final HostName DETAILS = HostName.of("details.default.svc.cluster.local");
  private static final HostName REVIEWS = HostName.of("reviews.default.svc.cluster.local");

  private static final HostName UNROUTED = HostName.of("unrouted.default.svc.cluster.local");

  /// A VirtualService has no route for [#UNROUTED]. Names below svc.cluster.local go where they
  /// resolve to, at `port`; 10.0.0.0/8 is filtered.
  private record ByHost(int port, boolean auditing) implements RouteTable, ClientView {
    @Override
    public long generation() {
      return 1;
    }

    @Override
    public ClientView view(Pod pod) {
      return this;
    }

    @Override
    public EgressMode mode() {
      return auditing ? EgressMode.AUDIT : EgressMode.ENFORCE;
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
      return preface instanceof Preface.Http
          ? new Decision.PerRequest()
          : FlowRig.refuse(Refusal.CONNECTION_CLOSED);
    }

    @Override
    public Decision decide(OriginalDst dst, Request request) {
      HostName host = request.host().orElse(HostName.of("none"));
      if (host.equals(UNROUTED)) {
        return new Decision.Refuse(
            Refusal.HTTP_502,
            Optional.empty(),
            Optional.of(new ResourceRef("VirtualService", "default", "routes")));
      }
      if (!host.text().endsWith(".svc.cluster.local")) {
        return auditing
            ? new Decision.Passthrough(Optional.of(Refusal.HTTP_502), Optional.empty())
            : new Decision.Refuse(Refusal.HTTP_502, Optional.empty(), Optional.empty());
      }
      return FlowRig.forward(host.text(), auditing, new Target.Endpoint.Name(host, port));
    }
  }

  private static void send(SocketChannel to, String text) throws IOException {
    FlowRig.write(to, text.replace("\n", "\r\n").getBytes(StandardCharsets.ISO_8859_1));
  }

  private static String head(SocketChannel from) throws IOException {
    StringBuilder out = new StringBuilder();
    while (!out.toString().endsWith("\r\n\r\n")) {
      out.append((char) FlowRig.read(from, 1)[0]);
    }
    return out.toString().replace("\r\n", "\n");
  }

  private static void knows(FlowRig rig, HostName name, String address) {
    rig.dns.put(name, new Addresses.Found(List.of(InetAddress.ofLiteral(address)), false));
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void eachRequestIsDecidedConnectedCountedAndToldByItself(Way way) throws IOException {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = FlowRig.of(way, new ByHost(FlowRig.port(upstream), false))) {
      knows(rig, DETAILS, "127.0.0.1");
      knows(rig, REVIEWS, "10.0.0.1");
      try (SocketChannel client = rig.connect()) {
        send(client, "GET /details/0?secret HTTP/1.1\nHost: " + DETAILS + ":9080\n\n");
        try (SocketChannel details = upstream.accept()) {
          assertThat(head(details)).startsWith("GET /details/0?secret HTTP/1.1\n");
          send(details, "HTTP/1.1 200 OK\nContent-Length: 2\n\nok");
          assertThat(head(client)).startsWith("HTTP/1.1 200 OK\n");
          FlowRig.read(client, 2);
          send(client, "GET / HTTP/1.1\nHost: nobody.example.com\n\n");
          assertThat(head(client)).startsWith("HTTP/1.1 502 Bad Gateway\n");
          FlowRig.read(
              client, "no entry allows this Host; answered with 502 (http_502)\n".length());
          send(client, "HEAD / HTTP/1.1\nHost: " + REVIEWS + "\n\n");
          assertThat(head(client)).startsWith("HTTP/1.1 403 Forbidden\n");
          send(client, "GET /late HTTP/1.1\nHost: " + DETAILS + ":9080\n\n");
          assertThat(head(details)).startsWith("GET /late HTTP/1.1\n");
          send(details, "HTTP/1.1 500 Oops\nContent-Length: 0\n\n");
          assertThat(head(client)).startsWith("HTTP/1.1 500 Oops\n");
        }
      }
      Told connection = rig.ended();
      assertThat(connection.outcome).isEqualTo(new Outcome.Finished());
      assertThat(connection.record.bytesReceived()).isPositive();
      assertThat(connection.events)
          .containsExactly("accepted", "opened to " + FlowRig.CLUSTER, "ended");

      assertThat(rig.requests).hasSize(4);
      Told first = rig.requests.getFirst();
      assertThat(first.outcome).isEqualTo(new Outcome.Finished());
      assertThat(first.record.exchange())
          .contains(new HttpExchange("HTTP/1.1", "GET", "/details/0", 200, ""));
      assertThat(((Preface.Http) first.record.preface()).host()).contains(DETAILS);
      assertThat(first.record.decision().flatMap(Decision::cluster)).contains(FlowRig.CLUSTER);
      assertThat(first.record.upstream()).isPresent();
      assertThat(rig.requests.get(1).outcome).isEqualTo(new Outcome.Refused(Refusal.HTTP_502, ""));
      assertThat(rig.requests.get(2).outcome)
          .isInstanceOfSatisfying(
              Outcome.Refused.class,
              refused -> assertThat(refused.why()).isEqualTo(Refusal.ADDRESS_FILTERED));

      List<Endpoint> endpoints = rig.clusters.cluster(FlowRig.CLUSTER).endpoints();
      assertThat(endpoints).hasSize(1);
      Endpoint endpoint = endpoints.getFirst();
      assertThat(endpoint.hostname()).isEqualTo(DETAILS.text());
      assertThat(endpoint.cxTotal()).isEqualTo(1);
      assertThat(endpoint.rqTotal()).isEqualTo(2);
      assertThat(endpoint.rqSuccess()).isEqualTo(1);
      assertThat(endpoint.rqError()).isEqualTo(1);
      assertThat(endpoint.rqActive()).isZero();
      FlowRig.await("the upstream connection is counted back", () -> endpoint.cxActive() == 0);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aRequestThatNoRouteOfItsHostTakesIsAnswered404AndCountsForNoDestination(Way way)
      throws IOException {
    try (FlowRig rig = FlowRig.of(way, new ByHost(1, false))) {
      try (SocketChannel client = rig.connect()) {
        send(client, "HEAD / HTTP/1.1\nHost: " + UNROUTED + "\n\n");
        assertThat(head(client)).startsWith("HTTP/1.1 404 Not Found\n");
        send(client, "HEAD / HTTP/1.1\nHost: nobody.example.com\n\n");
        assertThat(head(client)).startsWith("HTTP/1.1 502 Bad Gateway\n");
      }
      assertThat(rig.ended().events).containsExactly("accepted", "ended");
      Told first = rig.requests.getFirst();
      assertThat(first.outcome)
          .isEqualTo(
              new Outcome.Refused(
                  Refusal.HTTP_502,
                  "none of the http routes of VirtualService/default/routes takes it"));
      assertThat(first.record.exchange().orElseThrow().status()).isEqualTo(404);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void auditPassesWhatEnforcementWouldRefuse(Way way) throws IOException {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = FlowRig.of(way, new ByHost(FlowRig.port(upstream), true))) {
      knows(rig, REVIEWS, "10.0.0.1");
      rig.dialled = new OriginalDst(FlowRig.LOOPBACK, FlowRig.port(upstream));
      try (SocketChannel client = rig.connect()) {
        send(client, "GET / HTTP/1.1\nHost: nobody.example.com\n\n");
        try (SocketChannel dialled = upstream.accept()) {
          assertThat(head(dialled)).contains("host: nobody.example.com\n");
          send(dialled, "HTTP/1.1 200 OK\nContent-Length: 0\n\n");
          assertThat(head(client)).startsWith("HTTP/1.1 200 OK\n");
        }
        send(client, "GET / HTTP/1.1\nHost: " + REVIEWS + "\n\n");
        try (SocketChannel dialled = upstream.accept()) {
          assertThat(head(dialled)).contains("host: " + REVIEWS + "\n");
          send(dialled, "HTTP/1.1 200 OK\nContent-Length: 0\n\n");
          assertThat(head(client)).startsWith("HTTP/1.1 200 OK\n");
        }
      }
      rig.ended();
      assertThat(rig.requests.get(0).record.decision())
          .contains(new Decision.Passthrough(Optional.of(Refusal.HTTP_502), Optional.empty()));
      assertThat(rig.requests.get(1).record.decision().orElseThrow())
          .isInstanceOfSatisfying(
              Decision.Passthrough.class,
              pass -> assertThat(pass.wouldBlock()).contains(Refusal.ADDRESS_FILTERED));
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void anEndedAgentEndsItsRequests(Way way) throws IOException {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = FlowRig.of(way, new ByHost(FlowRig.port(upstream), false))) {
      knows(rig, DETAILS, "127.0.0.1");
      try (SocketChannel client = rig.connect()) {
        send(client, "GET / HTTP/1.1\nHost: " + DETAILS + "\n\n");
        try (SocketChannel details = upstream.accept()) {
          head(details);
          rig.workers.endAll();
          assertThat(rig.ended().outcome).isEqualTo(new Outcome.Drained());
          assertThat(FlowRig.readToEnd(details)).isEmpty();
        }
      }
      assertThat(rig.requests).hasSize(1);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void http2WithPriorKnowledgeIsServedWhereverItsFirstBytesAreCut(Way way) throws Exception {
    try (ServerSocketChannel upstream = FlowRig.upstream();
        FlowRig rig = FlowRig.of(way, new ByHost(FlowRig.port(upstream), false))) {
      knows(rig, DETAILS, "127.0.0.1");
      byte[] name = DETAILS.text().getBytes(StandardCharsets.US_ASCII);
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      bytes.writeBytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
      bytes.writeBytes(new byte[] {0, 0, 0, 4, 0, 0, 0, 0, 0}); // SETTINGS
      // HEADERS: GET, http, / from the static table, then :authority as a literal (RFC 7541)
      bytes.writeBytes(new byte[] {0, 0, (byte) (5 + name.length), 1, 5, 0, 0, 0, 1});
      bytes.writeBytes(new byte[] {(byte) 0x82, (byte) 0x86, (byte) 0x84, 0x41});
      bytes.write(name.length);
      bytes.writeBytes(name);
      byte[] all = bytes.toByteArray();
      for (int cut : new int[] {all.length, 24, 33, 50, 3}) {
        try (SocketChannel client = rig.connect()) {
          client.setOption(StandardSocketOptions.TCP_NODELAY, true);
          FlowRig.write(client, Arrays.copyOf(all, cut));
          FlowRig.read(client, cut >= 24 ? 9 : 0); // the server's SETTINGS: it has read so far
          FlowRig.write(client, Arrays.copyOfRange(all, cut, all.length));
          try (SocketChannel details = upstream.accept()) {
            assertThat(head(details)).contains("host: " + DETAILS + "\n");
            send(details, "HTTP/1.1 204 No Content\n\n");
            FlowRig.await("the request's end", () -> !rig.requests.isEmpty());
          }
        }
        assertThat(rig.requests.removeFirst().record.exchange().orElseThrow().status())
            .isEqualTo(204);
      }
      FlowRig.await("all ended", () -> rig.workers.snapshot().join().isEmpty());
      rig.assertNothingIsLeft();
    }
  }
}
