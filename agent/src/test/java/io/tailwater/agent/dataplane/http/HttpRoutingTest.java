package io.tailwater.agent.dataplane.http;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.http.HttpObserver.HttpEnd;
import io.tailwater.agent.dataplane.route.RequestPolicy;
import io.tailwater.agent.traffic.Refusal;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/// Requests of one client connection, each by its own Host.
class HttpRoutingTest {
  private static final String OK = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

  @Test
  void eachRequestOfAKeptConnectionGoesToItsOwnHost() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer.Listener b = rig.host("b.test");
        Peer client = rig.client()) {
      client.send("GET /one?q=1 HTTP/1.1\nHost: a.test\nX-Mine: 1\n\n");
      try (Peer at = a.accept()) {
        assertThat(at.head()).isEqualTo("GET /one?q=1 HTTP/1.1\nhost: a.test\nX-Mine: 1\n\n");
        at.send(OK);
        assertThat(client.until("ok")).startsWith("HTTP/1.1 200 OK\n");

        client.send("GET /two HTTP/1.1\nHost: b.test:8080\n\n");
        try (Peer bt = b.accept()) {
          assertThat(bt.head()).isEqualTo("GET /two HTTP/1.1\nhost: b.test:8080\n\n");
          bt.send(OK);
          client.until("ok");

          // the first destination's connection was kept
          client.send("GET /three HTTP/1.1\nHost: a.test\n\n");
          assertThat(at.head()).startsWith("GET /three ");
          at.send(OK);
          client.until("ok");
        }
      }
      assertThat(rig.dials).hasValue(2);
      assertThat(rig.started).hasValue(3);
      RequestRecord first = rig.record();
      assertThat(first.path()).isEqualTo("/one");
      assertThat(first.authority()).isEqualTo("a.test");
      assertThat(first.status()).isEqualTo(200);
      assertThat(first.received()).isEqualTo(2);
      assertThat(rig.next(rig.counted)).isEqualTo(Upstream.RequestEnd.SUCCESS);
      client.fin();
      assertThat(client.rest()).isEmpty();
      assertThat(rig.next(rig.ends)).isEqualTo(HttpEnd.FINISHED);
    }
  }

  @Test
  void connectionsAreNotSharedWithAnotherClient() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer one = rig.client();
        Peer two = rig.client()) {
      one.send("GET / HTTP/1.1\nHost: a.test\n\n");
      try (Peer first = a.accept()) {
        first.head();
        first.send(OK);
        one.until("ok");
        two.send("GET / HTTP/1.1\nHost: a.test\n\n");
        try (Peer second = a.accept()) {
          second.head();
          second.send(OK);
          two.until("ok");
        }
      }
    }
  }

  @Test
  void theHostThatIsMatchedIsTheHostThatIsSent() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("GET / HTTP/1.1\nHost: A.Test.:80\n\n");
      try (Peer at = a.accept()) {
        assertThat(at.head()).contains("host: a.test:80\n");
      }
    }
  }

  @Test
  void theAuthorityOfAnAbsoluteTargetWinsOverHost() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("GET http://a.test:81/x?y HTTP/1.1\nHost: b.test\n\n");
      try (Peer at = a.accept()) {
        assertThat(at.head()).isEqualTo("GET /x?y HTTP/1.1\nhost: a.test:81\n\n");
        at.send(OK);
        client.until("ok");
        client.send("GET HTTP://a.test?y HTTP/1.1\nHost: a.test\n\n");
        assertThat(at.head()).startsWith("GET /?y HTTP/1.1\n");
      }
    }
  }

  @Test
  void anUnknownHostIsAnswered502AndTheConnectionGoesOn() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("GET / HTTP/1.1\nHost: nobody.test\n\n");
      assertThat(client.head()).startsWith("HTTP/1.1 502 Bad Gateway\n");
      client.until("(http_502)");
      client.bytes(1);
      RequestRecord refused = rig.record();
      assertThat(refused.refusal()).contains(Refusal.HTTP_502);
      assertThat(refused.authority()).isEqualTo("nobody.test");

      client.send("HEAD / HTTP/1.1\nHost: filtered.test\n\n");
      assertThat(client.head()).startsWith("HTTP/1.1 403 Forbidden\n");

      client.send("GET / HTTP/1.1\nHost: a.test\n\n");
      try (Peer at = a.accept()) {
        at.head();
        at.send(OK);
        assertThat(client.until("ok")).startsWith("HTTP/1.1 200");
      }
    }
  }

  @Test
  void aDestinationThatCannotBeReachedIsA503() {
    try (HttpRig rig = new HttpRig(false);
        Peer client = rig.client()) {
      rig.host("a.test").close();
      client.send("GET / HTTP/1.1\nHost: a.test\n\n");
      assertThat(client.head()).startsWith("HTTP/1.1 503 Service Unavailable\n");
      assertThat(rig.record().refusal()).contains(Refusal.CONNECT_FAILED);
      assertThat(rig.started).hasValue(0);
    }
  }

  @Test
  void anAddressAsHostIsNoNameAndIsSentAsItIs() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("");
        Peer client = rig.client()) {
      client.send("GET / HTTP/1.1\nHost: [2001:db8::1]:8080\n\n");
      try (Peer at = a.accept()) {
        assertThat(at.head()).contains("host: [2001:db8::1]:8080\n");
      }
      assertThat(rig.next(rig.asked).host()).isEmpty();
    }
  }

  @Test
  void hostPathAndFieldsAreRewrittenWhereTheRouteSaysSo() {
    RequestPolicy policy =
        new RequestPolicy(
            Optional.of("inner.test"),
            Optional.of(new RequestPolicy.PathRewrite("/v1", "/v2")),
            Optional.empty(),
            RequestPolicy.Retries.DEFAULT,
            new RequestPolicy.Headers(
                Map.of("x-set", "1", "content-length", "5"), Map.of(), List.of("x-mine")),
            new RequestPolicy.Headers(Map.of(), Map.of("x-new", "2"), List.of("server")));
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test", policy);
        Peer client = rig.client()) {
      client.send("GET /v1/x HTTP/1.1\nHost: a.test\nX-Mine: 1\n\n");
      try (Peer at = a.accept()) {
        assertThat(at.head()).isEqualTo("GET /v2/x HTTP/1.1\nhost: inner.test\nx-set: 1\n\n");
        at.send("HTTP/1.1 200 OK\nServer: me\nContent-Length: 2\n\nok");
        assertThat(client.until("ok"))
            .isEqualTo("HTTP/1.1 200 OK\nContent-Length: 2\nx-new: 2\n\nok");
      }
    }
  }

  @Test
  void aFailedAttemptIsRepeatedWhereTheRouteSaysSo() {
    RequestPolicy policy = HttpRig.retries(2, "reset", "503");
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test", policy);
        Peer client = rig.client()) {
      client.send("GET / HTTP/1.1\nHost: a.test\n\n");
      try (Peer first = a.accept()) {
        first.head();
        first.send("HTTP/1.1 503 Busy\nContent-Length: 0\n\n");
        try (Peer second = a.accept()) {
          second.head();
          second.reset();
          try (Peer third = a.accept()) {
            third.head();
            third.send(OK);
            assertThat(client.until("ok")).startsWith("HTTP/1.1 200");
          }
        }
      }
      assertThat(rig.next(rig.counted)).isEqualTo(Upstream.RequestEnd.GATEWAY_ERROR);
      assertThat(rig.next(rig.counted)).isEqualTo(Upstream.RequestEnd.RESET);
      assertThat(rig.next(rig.counted)).isEqualTo(Upstream.RequestEnd.SUCCESS);
      assertThat(rig.record().status()).isEqualTo(200);
      assertThat(rig.records).isEmpty();
    }
  }

  @Test
  void attemptsEndAndTheLastAnswerIsTold() {
    RequestPolicy policy = HttpRig.retries(1, "503");
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test", policy);
        Peer client = rig.client()) {
      client.send("GET / HTTP/1.1\nHost: a.test\n\n");
      for (int i = 0; i < 2; i++) {
        try (Peer at = a.accept()) {
          at.head();
          at.send("HTTP/1.1 503 Busy\nContent-Length: 2\n\nno");
          if (i == 1) {
            assertThat(client.until("no")).startsWith("HTTP/1.1 503");
          }
        }
      }
    }
  }

  @Test
  void aKeptConnectionThatItsPeerHasClosedIsReplacedUnseen() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("GET / HTTP/1.1\nHost: a.test\n\n");
      try (Peer first = a.accept()) {
        first.head();
        first.send(OK);
        client.until("ok");
        client.send("GET /again HTTP/1.1\nHost: a.test\n\n");
        first.head();
      } // closes with the request unanswered
      try (Peer second = a.accept()) {
        assertThat(second.head()).startsWith("GET /again ");
        second.send(OK);
        assertThat(client.until("ok")).startsWith("HTTP/1.1 200");
      }
    }
  }

  @Test
  void aPostOnAKeptConnectionIsNotSentTwice() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("GET / HTTP/1.1\nHost: a.test\n\n");
      try (Peer first = a.accept()) {
        first.head();
        first.send(OK);
        client.until("ok");
        client.send("POST /order HTTP/1.1\nHost: a.test\nContent-Length: 0\n\n");
        first.head();
      }
      assertThat(client.head()).startsWith("HTTP/1.1 502 Bad Gateway\n");
    }
  }
}
