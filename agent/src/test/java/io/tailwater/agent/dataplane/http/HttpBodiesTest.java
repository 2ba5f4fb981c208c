package io.tailwater.agent.dataplane.http;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.http.HttpObserver.HttpEnd;
import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/// Bodies as they come, both ways, and every way in which a message can end.
class HttpBodiesTest {
  private static final String OK = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

  @Test
  void aBodyIsStreamedPieceByPieceWithItsTrailers() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send(
          """
          POST / HTTP/1.1
          Host: a.test
          Transfer-Encoding: chunked
          Trailer: X-Sum

          3;ext=1
          abc
          """);
      try (Peer at = a.accept()) {
        assertThat(at.head())
            .isEqualTo(
                "POST / HTTP/1.1\nhost: a.test\nTrailer: X-Sum\ntransfer-encoding: chunked\n\n");
        assertThat(at.until("abc\n")).isEqualTo("3\nabc\n");
        client.send("2\nde\n0\nX-Sum: 5\nHost: evil.test\n\n");
        assertThat(at.until("\n\n")).isEqualTo("2\nde\n0\nX-Sum: 5\n\n");

        at.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\nx\n");
        assertThat(client.until("1\nx\n"))
            .isEqualTo("HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n1\nx\n");
        at.send("1\ny\n0\nX-T: z\n\n");
        assertThat(client.until("X-T: z\n\n")).isEqualTo("1\ny\n0\nX-T: z\n\n");
      }
      RequestRecord record = rig.record();
      assertThat(record.sent()).isEqualTo(5);
      assertThat(record.received()).isEqualTo(2);
    }
  }

  @Test
  void pipelinedRequestsAreAnsweredInOrderEachByItsOwnHost() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer.Listener b = rig.host("b.test");
        Peer client = rig.client()) {
      client
          .send(
              "POST /1 HTTP/1.1\nHost: a.test\nContent-Length: 3\n\nabc"
                  + "GET /2 HTTP/1.1\nHost: b.test\n\n"
                  + "GET /3 HTTP/1.1\nHost: nobody.test\n\n"
                  + "GET /4 HTTP/1.1\nHost: a.test\n\n")
          .fin();
      try (Peer at = a.accept()) {
        assertThat(at.head()).startsWith("POST /1 ");
        assertThat(at.bytes(3)).isEqualTo("abc");
        assertThat(rig.asked).as("the next one waits").hasSize(1);
        at.send("HTTP/1.1 200 OK\nContent-Length: 1\n\n1");
        try (Peer bt = b.accept()) {
          assertThat(bt.head()).startsWith("GET /2 ");
          bt.send("HTTP/1.1 200 OK\nContent-Length: 1\n\n2");
        }
        assertThat(at.head()).startsWith("GET /4 ");
        at.send("HTTP/1.1 200 OK\nContent-Length: 1\n\n4");
        String all = client.rest();
        assertThat(all.replaceAll("(?s)HTTP/1.1 (\\d+) .*?\n\n", "<$1>"))
            .isEqualTo(
                "<200>1<200>2<502>no entry allows this Host; answered with 502 (http_502)\n<200>4");
      }
    }
  }

  @Test
  void manyPipelinedRefusalsDoNotDeepenTheStack() {
    try (HttpRig rig = new HttpRig(false);
        Peer client = rig.client()) {
      int count = 5000;
      CompletableFuture<Void> writer =
          CompletableFuture.runAsync(
              () -> client.send("GET / HTTP/1.1\nHost: x.test\n\n".repeat(count)).fin());
      String all = client.rest();
      writer.join();
      assertThat(all.split("HTTP/1\\.1 502 ", -1)).hasSize(count + 1);
    }
  }

  @Test
  void aSlowReaderHoldsTheSenderBack() throws IOException {
    long total = 64L << 20;
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("GET / HTTP/1.1\nHost: a.test\n\n");
      try (Peer at = a.accept()) {
        at.head();
        at.send("HTTP/1.1 200 OK\nContent-Length: " + total + "\n\n");
        byte[] piece = new byte[1 << 16];
        long[] written = new long[1];
        CompletableFuture<Void> writer =
            CompletableFuture.runAsync(() -> {
              try {
                for (long n = 0; n < total; n += piece.length) {
                  at.socket().getOutputStream().write(piece);
                  synchronized (written) {
                    written[0] = n;
                  }
                }
              } catch (IOException e) {
                throw new java.io.UncheckedIOException(e);
              }
            });
        client.head();
        long before = -1;
        long now = 0;
        while (now != before) { // until the writer stands still
          before = now;
          java.util.concurrent.locks.LockSupport.parkNanos(Duration.ofMillis(300).toNanos());
          synchronized (written) {
            now = written[0];
          }
        }
        assertThat(now).as("what the kernel's buffers take, and little more").isLessThan(32L << 20);
        assertThat(client.socket().getInputStream().skip(total)).isPositive();
        byte[] rest = new byte[1 << 16];
        while (!writer.isDone()) {
          assertThat(client.socket().getInputStream().read(rest)).isPositive();
        }
        writer.join();
      }
    }
  }

  @Test
  void aLargeUploadIsHeldBackToo() throws IOException {
    long total = 8L << 20;
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("PUT / HTTP/1.1\nHost: a.test\nContent-Length: " + total + "\n\n");
      CompletableFuture<Void> writer =
          CompletableFuture.runAsync(() -> client.raw("x".repeat((int) total)));
      try (Peer at = a.accept()) {
        at.head();
        assertThat(at.bytes((int) total)).hasSize((int) total);
        writer.join();
        at.send(OK);
        client.until("ok");
      }
      assertThat(rig.record().sent()).isEqualTo(total);
    }
  }

  @Test
  void oneHundredContinueTravelsBothWays() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("POST / HTTP/1.1\nHost: a.test\nExpect: 100-continue\nContent-Length: 3\n\n");
      try (Peer at = a.accept()) {
        assertThat(at.head()).contains("Expect: 100-continue\n");
        at.send("HTTP/1.1 100 Continue\n\n");
        assertThat(client.head()).isEqualTo("HTTP/1.1 100 Continue\n\n");
        client.send("abc");
        assertThat(at.bytes(3)).isEqualTo("abc");
        at.send("HTTP/1.1 103 Early Hints\nLink: </x>\n\n" + OK);
        assertThat(client.head()).isEqualTo("HTTP/1.1 103 Early Hints\nLink: </x>\n\n");
        assertThat(client.until("ok")).startsWith("HTTP/1.1 200 OK\n").doesNotContain("close");
      }
    }
  }

  @Test
  void aRefusedExpectationEndsTheConnectionBecauseTheBodyMayOrMayNotCome() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("POST / HTTP/1.1\nHost: a.test\nExpect: 100-continue\nContent-Length: 3\n\n");
      try (Peer at = a.accept()) {
        at.head();
        at.send("HTTP/1.1 417 No\nContent-Length: 0\n\n");
        assertThat(client.rest()).startsWith("HTTP/1.1 417 No\n").contains("connection: close\n");
        assertThat(at.rest()).isEmpty();
      }
    }
  }

  @Test
  void anEarlyResponseIsDeliveredWhileTheClientStillSends() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("POST / HTTP/1.1\nHost: a.test\nContent-Length: 100000\n\nfirst");
      try (Peer at = a.accept()) {
        at.head();
        at.send("HTTP/1.1 413 Too Large\nContent-Length: 3\n\nbig");
        client.raw("x".repeat(1000));
        assertThat(client.rest()).startsWith("HTTP/1.1 413 Too Large\n").endsWith("\n\nbig");
      }
    }
  }

  @Test
  void responsesWithoutABodyDoNotBlockTheNext() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("HEAD / HTTP/1.1\nHost: a.test\n\n");
      try (Peer at = a.accept()) {
        at.head();
        at.send("HTTP/1.1 200 OK\nContent-Length: 1000\n\n");
        assertThat(client.head()).isEqualTo("HTTP/1.1 200 OK\nContent-Length: 1000\n\n");
        client.send("GET / HTTP/1.1\nHost: a.test\n\n");
        at.head();
        at.send("HTTP/1.1 204 No Content\n\n");
        assertThat(client.head()).isEqualTo("HTTP/1.1 204 No Content\n\n");
        client.send("GET / HTTP/1.1\nHost: a.test\n\n");
        at.head();
        at.send("HTTP/1.1 304 Not Modified\nContent-Length: 7\nETag: x\n\n");
        assertThat(client.head()).contains("ETag: x\n");
        client.send("HEAD / HTTP/1.1\nHost: a.test\n\n");
        at.head();
        at.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n");
        client.head();
        client.send("GET / HTTP/1.1\nHost: a.test\n\n");
        at.head();
        at.send(OK);
        assertThat(client.until("ok")).startsWith("HTTP/1.1 200 OK\n");
      }
      assertThat(rig.dials).hasValue(1);
    }
  }

  @Test
  void aBodyThatEndsWithItsConnectionIsChunkedForTheClient() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("GET / HTTP/1.1\nHost: a.test\n\n");
      try (Peer at = a.accept()) {
        at.head();
        at.send("HTTP/1.1 200 OK\n\nsome").fin();
        assertThat(client.until("\n0\n\n"))
            .isEqualTo("HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n4\nsome\n0\n\n");
      }
      client.send("GET / HTTP/1.1\nHost: a.test\n\n");
      a.accept().close(); // a new one, and not the dead one
    }
  }

  @Test
  void http10GetsNoChunksAndKeepsAConnectionOnlyIfItSaysSo() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test")) {
      try (Peer client = rig.client();
          Peer at = first(client, a, "GET / HTTP/1.0\nHost: a.test\n\n")) {
        at.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n4\nsome\n0\n\n");
        assertThat(client.rest()).isEqualTo("HTTP/1.1 200 OK\nconnection: close\n\nsome");
      }
      try (Peer client = rig.client();
          Peer at = first(client, a, "GET / HTTP/1.0\nHost: a.test\nConnection: keep-alive\n\n")) {
        at.send(OK);
        assertThat(client.until("ok")).contains("connection: keep-alive\n");
        client.send("GET /next HTTP/1.0\nHost: a.test\n\n");
        assertThat(at.head()).startsWith("GET /next HTTP/1.1\n");
        at.send(OK);
        assertThat(client.rest()).endsWith("ok");
      }
    }
  }

  private static Peer first(Peer client, Peer.Listener at, String request) {
    client.send(request);
    Peer accepted = at.accept();
    accepted.head();
    return accepted;
  }

  @Test
  void aResponseThatBreaksOffBreaksOffForTheClient() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test")) {
      for (String head :
          new String[] {"Content-Length: 100\n\nsome", "Transfer-Encoding: chunked\n\n4\nsome\n"}) {
        try (Peer client = rig.client();
            Peer at = first(client, a, "GET / HTTP/1.1\nHost: a.test\n\n")) {
          at.send("HTTP/1.1 200 OK\n" + head).fin();
          assertThat(client.until("some")).startsWith("HTTP/1.1 200 OK\n");
          assertThat(client.endsInReset()).isTrue();
          assertThat(rig.next(rig.counted)).isEqualTo(Upstream.RequestEnd.RESET);
          assertThat(rig.next(rig.ends)).isEqualTo(HttpEnd.UPSTREAM_RESET);
          assertThat(rig.record().detail()).contains("before the end of its response");
        }
      }
    }
  }

  @Test
  void aDestinationThatClosesWithoutAnAnswerIsA502() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      first(client, a, "POST / HTTP/1.1\nHost: a.test\nContent-Length: 0\n\n").close();
      assertThat(client.head()).startsWith("HTTP/1.1 502 Bad Gateway\n");
      client.until("response");
      client.bytes(1);
      first(client, a, "GET / HTTP/1.1\nHost: a.test\n\n").reset();
      assertThat(client.head()).startsWith("HTTP/1.1 502 Bad Gateway\n");
    }
  }

  @Test
  void aClientThatGoesAwayTakesItsRequestWithIt() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test")) {
      try (Peer client = rig.client();
          Peer at = first(client, a, "POST / HTTP/1.1\nHost: a.test\nContent-Length: 10\n\nabc")) {
        assertThat(at.bytes(3)).isEqualTo("abc");
        client.fin(); // in the middle
        assertThat(at.rest()).isEmpty();
        assertThat(rig.next(rig.counted)).isEqualTo(Upstream.RequestEnd.CANCELLED);
        assertThat(rig.next(rig.ends)).isEqualTo(HttpEnd.CLIENT_RESET);
      }
      try (Peer client = rig.client();
          Peer at = first(client, a, "GET / HTTP/1.1\nHost: a.test\n\n")) {
        at.send("HTTP/1.1 200 OK\nContent-Length: 100\n\nsome");
        client.until("some");
        client.reset();
        assertThat(at.rest()).isEmpty();
        assertThat(rig.next(rig.ends)).isEqualTo(HttpEnd.CLIENT_RESET);
      }
    }
  }

  @Test
  void aClientThatHasSentFinStillGetsItsResponse() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("GET / HTTP/1.1\nHost: a.test\n\n").fin();
      try (Peer at = a.accept()) {
        at.head();
        at.send(OK);
        assertThat(client.rest()).endsWith("\n\nok");
      }
      assertThat(rig.next(rig.ends)).isEqualTo(HttpEnd.FINISHED);
    }
  }

  @Test
  void afterSwitchingProtocolsBytesGoBothWaysWithHalfClose() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send(
          "GET /chat HTTP/1.1\nHost: a.test\nConnection: keep-alive, Upgrade\nUpgrade: websocket\n"
              + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13\n\nahead");
      try (Peer at = a.accept()) {
        assertThat(at.head())
            .contains("upgrade: websocket\nconnection: upgrade\n")
            .doesNotContain("keep-alive");
        at.send(
            "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade\n"
                + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n\nhello");
        assertThat(client.head())
            .startsWith("HTTP/1.1 101 Switching Protocols\n")
            .contains("connection: upgrade\n");
        assertThat(client.bytes(5)).isEqualTo("hello");
        assertThat(at.bytes(5)).isEqualTo("ahead");
        client.raw("GET / HTTP/1.1\n\n").fin(); // is no request any more
        assertThat(at.rest()).isEqualTo("GET / HTTP/1.1\n\n");
        at.raw("x".repeat(100_000)).fin();
        assertThat(client.rest()).hasSize(100_000);
      }
      RequestRecord record = rig.record();
      assertThat(record.status()).isEqualTo(101);
      assertThat(record.received()).isEqualTo(100_005);
      assertThat(rig.next(rig.counted)).isEqualTo(Upstream.RequestEnd.SUCCESS);
      assertThat(rig.next(rig.ends)).isEqualTo(HttpEnd.FINISHED);
    }
  }

  @Test
  void anUpgradeThatIsNotTakenStaysHttp() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send(
          """
          GET /chat HTTP/1.1
          Host: a.test
          Connection: Upgrade
          Upgrade: websocket

          GET /next HTTP/1.1
          Host: a.test

          """);
      try (Peer at = a.accept()) {
        at.head();
        at.send(OK);
        assertThat(at.head()).startsWith("GET /next ");
        at.send(OK);
        client.until("ok");
        client.until("ok");
      }
    }
  }

  @Test
  void drainingFinishesWhatIsUnderWay() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client();
        Peer at = first(client, a, "GET / HTTP/1.1\nHost: a.test\n\n")) {
      HttpConnection connection = rig.next(rig.connections);
      rig.loop.submit(connection::drain).syncUninterruptibly();
      at.send(OK);
      assertThat(client.rest()).contains("connection: close\n").endsWith("ok");
    }
  }
}
