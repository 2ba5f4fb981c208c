package io.tailwater.agent.dataplane.http;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.RequestPolicy;
import io.tailwater.agent.traffic.Refusal;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/// What a DestinationRule's `connectionPool` does to requests, and what the server's word does to
/// HTTP/2.
class HttpPoolTest {
  private static final String OK = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

  private static ConnectionPolicy policy(
      long pending, long retries, int perConnection, Optional<Duration> longest) {
    ConnectionPolicy plain = ConnectionPolicy.DEFAULT;
    long unlimited = ConnectionPolicy.Limits.UNLIMITED;
    return new ConnectionPolicy(
        plain.tls(),
        new ConnectionPolicy.Limits(unlimited, unlimited, pending, retries, perConnection),
        plain.connectTimeout(),
        plain.idleTimeout(),
        longest,
        plain.keepAlive(),
        plain.balancing(),
        plain.outlier(),
        plain.http());
  }

  private static HttpRig.Server server(
      Peer.Listener at, boolean http2, boolean agrees, RequestPolicy request, ConnectionPolicy c) {
    return new HttpRig.Server(at.address(), http2, agrees, request, c);
  }

  @Test
  void aRequestThatWouldWaitWhereNoMoreMayIsAnswered503() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = new Peer.Listener();
        Peer client = rig.client()) {
      ConnectionPolicy none = policy(0, 0, 0, Optional.empty());
      rig.host("a.test", server(a, false, false, RequestPolicy.NONE, none));
      client.send("GET / HTTP/1.1\nHost: a.test\n\n");
      assertThat(client.head()).startsWith("HTTP/1.1 503 Service Unavailable\n");
      RequestRecord told = rig.record();
      assertThat(told.refusal()).contains(Refusal.LIMIT);
      assertThat(told.detail())
          .isEqualTo("http1MaxPendingRequests (0) of the destination is reached");
      assertThat(rig.dials).hasValue(0);
    }
  }

  @Test
  void whoHasAConnectionWaitsForNone() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = new Peer.Listener();
        Peer client = rig.client()) {
      ConnectionPolicy one = policy(1, 0, 2, Optional.empty());
      rig.host("a.test", server(a, false, false, RequestPolicy.NONE, one));
      client.send("GET /1 HTTP/1.1\nHost: a.test\n\n");
      try (Peer first = a.accept()) {
        for (int i = 1; i <= 2; i++) {
          assertThat(first.head()).startsWith("GET /" + i);
          assertThat(rig.waiting).hasValue(0);
          first.send(OK);
          client.until("ok");
          client.send("GET /" + (i + 1) + " HTTP/1.1\nHost: a.test\n\n");
        }
        assertThat(first.rest()).isEmpty(); // two requests are all that it may carry
        try (Peer second = a.accept()) {
          assertThat(second.head()).startsWith("GET /3");
        }
      }
    }
  }

  @Test
  void noMoreRequestsAreTriedAgainThanMayBe() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = new Peer.Listener();
        Peer client = rig.client()) {
      RequestPolicy again = HttpRig.retries(3, "503");
      rig.host("a.test", server(a, false, false, again, policy(9, 0, 0, Optional.empty())));
      client.send("GET / HTTP/1.1\nHost: a.test\n\n");
      try (Peer only = a.accept()) {
        only.head();
        only.send("HTTP/1.1 503 Busy\nContent-Length: 4\n\nbusy");
        assertThat(client.until("busy")).startsWith("HTTP/1.1 503");
      }
      assertThat(rig.dials).hasValue(1);

      rig.host("a.test", server(a, false, false, again, policy(9, 1, 0, Optional.empty())));
      client.send("GET / HTTP/1.1\nHost: a.test\n\n");
      try (Peer first = a.accept()) {
        first.head();
        first.send("HTTP/1.1 503 Busy\nContent-Length: 0\n\n");
        try (Peer second = a.accept()) {
          second.head();
          assertThat(rig.retrying).hasValue(1);
          second.send(OK);
          client.until("ok");
        }
      }
      rig.record();
      rig.record();
      assertThat(rig.retrying).hasValue(0);
    }
  }

  @Test
  void aServerThatDoesNotAgreeToHttp2GetsHttp1AndEachStreamAConnectionOfItsOwn() {
    try (HttpRig rig = new HttpRig(true);
        Peer.Listener a = new Peer.Listener();
        Http2Client client = new Http2Client(rig.loops.next(), rig.address())) {
      rig.host("a.test", server(a, true, false, RequestPolicy.NONE, ConnectionPolicy.DEFAULT));
      List<Http2Client.Stream> streams =
          List.of(
              client.send(Http2Client.get("a.test", "/x")),
              client.send(Http2Client.get("a.test", "/y")));
      try (Peer first = a.accept();
          Peer second = a.accept()) {
        assertThat(first.head()).startsWith("GET /").contains(" HTTP/1.1\n");
        assertThat(second.head()).startsWith("GET /").contains(" HTTP/1.1\n");
        first.send(OK);
        second.send(OK);
        streams.forEach(s -> assertThat(s.next()).isEqualTo("head 200"));
        Http2Client.Stream later = client.send(Http2Client.get("a.test", "/z"));
        // It is known by now: a connection that rests is taken.
        assertThat(later).isNotNull();
        rig.record();
        rig.record();
      }
      assertThat(rig.waiting).hasValue(0);
    }
  }

  @Test
  void anHttp2ConnectionThatHasLivedAsLongAsItMayLetsItsStreamsEnd() throws Exception {
    try (HttpRig rig = new HttpRig(true);
        HttpRig behind = new HttpRig(true);
        Peer.Listener last = behind.host("a.test");
        Http2Client client = new Http2Client(rig.loops.next(), rig.address())) {
      Optional<Duration> short_ = Optional.of(Duration.ofMillis(200));
      rig.host(
          "a.test",
          new HttpRig.Server(
              behind.address(), true, true, RequestPolicy.NONE, policy(9, 9, 0, short_)));
      Http2Client.Stream stream = client.send(Http2Client.get("a.test", "/1"));
      try (Peer at = last.accept()) {
        at.head();
        Thread.sleep(400);
        at.send(OK);
        assertThat(stream.next()).isEqualTo("head 200");
        assertThat(stream.next()).isEqualTo("data ok");
        assertThat(stream.next()).isEqualTo("end");
      }
      // The connection between the two is closed now, in order.
      assertThat(behind.next(behind.ends)).isEqualTo(HttpObserver.HttpEnd.FINISHED);
      Http2Client.Stream next = client.send(Http2Client.get("a.test", "/2"));
      try (Peer at = last.accept()) {
        assertThat(at.head()).startsWith("GET /2");
        at.send(OK);
        assertThat(next.next()).isEqualTo("head 200");
      }
      assertThat(rig.dials).hasValue(2);
    }
  }

  @Test
  void aGrpcAnswerIsJudgedByItsOwnStatus() {
    try (HttpRig rig = new HttpRig(true);
        Peer.Listener a = rig.host("a.test");
        Http2Client client = new Http2Client(rig.loops.next(), rig.address())) {
      for (String status : List.of("0", "5", "13", "14")) {
        Http2Client.Stream stream =
            client.send(
                Http2Client.get("a.test", "/").add("content-type", "application/grpc+proto"));
        try (Peer at = a.accept()) {
          at.head();
          at.send(
              "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nConnection: close\n\n"
                  + "0\ngrpc-status: "
                  + status
                  + "\n\n");
          assertThat(stream.next()).isEqualTo("head 200");
          assertThat(stream.next()).isEqualTo("trailers");
        }
      }
      assertThat(rig.next(rig.counted)).isEqualTo(Upstream.RequestEnd.SUCCESS);
      assertThat(rig.next(rig.counted)).isEqualTo(Upstream.RequestEnd.SUCCESS);
      assertThat(rig.next(rig.counted)).isEqualTo(Upstream.RequestEnd.SERVER_ERROR);
      assertThat(rig.next(rig.counted)).isEqualTo(Upstream.RequestEnd.GATEWAY_ERROR);
    }
  }
}
