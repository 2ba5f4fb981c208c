package io.tailwater.agent.dataplane.http;

import static org.assertj.core.api.Assertions.assertThat;

import io.netty.handler.codec.http2.DefaultHttp2Headers;
import io.netty.handler.codec.http2.Http2Headers;
import io.tailwater.agent.dataplane.http.Http2Client.Stream;
import io.tailwater.agent.dataplane.route.RequestPolicy;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/// HTTP/2 towards the client, towards the destination, and both.
class Http2Test {
  private static final String OK = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

  @Test
  void eachStreamGoesToItsOwnAuthority() {
    try (HttpRig rig = new HttpRig(true);
        Peer.Listener a = rig.host("a.test");
        Peer.Listener b = rig.host("b.test");
        Http2Client client = new Http2Client(rig.loops.next(), rig.address())) {
      Stream one = client.send(Http2Client.get("a.test", "/one?q"));
      Stream two = client.send(Http2Client.get("b.test:81", "/two").add("x-mine", "1"));
      Stream three = client.send(Http2Client.get("nobody.test", "/"));
      try (Peer at = a.accept();
          Peer bt = b.accept()) {
        assertThat(at.head()).isEqualTo("GET /one?q HTTP/1.1\nhost: a.test\n\n");
        assertThat(bt.head()).isEqualTo("GET /two HTTP/1.1\nhost: b.test:81\nx-mine: 1\n\n");
        bt.send(OK);
        assertThat(two.next()).isEqualTo("head 200");
        assertThat(two.next()).isEqualTo("data ok");
        assertThat(two.next()).isEqualTo("end");
        at.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nConnection: close\n\n1\nx\n");
        assertThat(one.next()).isEqualTo("head 200");
        assertThat(one.lastHead().contains("transfer-encoding")).isFalse();
        assertThat(one.lastHead().contains("connection")).isFalse();
        assertThat(one.next()).isEqualTo("data x");
        at.send("0\nX-T: z\n\n");
        assertThat(one.next()).isEqualTo("trailers");
        assertThat(one.lastHead().get("x-t")).hasToString("z");
      }
      assertThat(three.next()).isEqualTo("head 502");
      assertThat(rig.record().http2()).isTrue();
    }
  }

  @Test
  void aBodyBecomesChunksAndItsTrailersTravel() {
    try (HttpRig rig = new HttpRig(true);
        Peer.Listener a = rig.host("a.test");
        Http2Client client = new Http2Client(rig.loops.next(), rig.address())) {
      Stream stream =
          client
              .open()
              .head(
                  Http2Client.post("a.test", "/").add("cookie", "a=1").add("cookie", "b=2"), false)
              .data("abc", false);
      try (Peer at = a.accept()) {
        assertThat(at.head())
            .isEqualTo(
                "POST / HTTP/1.1\nhost: a.test\ncookie: a=1; b=2\ntransfer-encoding: chunked\n\n");
        assertThat(at.until("abc\n")).isEqualTo("3\nabc\n");
        stream.head(new DefaultHttp2Headers().add("x-sum", "3"), true);
        assertThat(at.until("\n\n")).isEqualTo("0\nx-sum: 3\n\n");
        at.send(OK);
        assertThat(stream.next()).isEqualTo("head 200");
      }
    }
  }

  @Test
  void whatHttp2DoesNotAllowIsNotRouted() {
    Map<String, Consumer<Http2Headers>> wrongs = new TreeMap<>();
    wrongs.put("capitals in a name", h -> h.add("X-Upper", "1"));
    wrongs.put("a name that is no token", h -> h.add("x y", "1"));
    wrongs.put("CR LF in a value", h -> h.add("x", "1\r\nhost: b.test"));
    wrongs.put("NUL in a value", h -> h.add("x", "a\0b"));
    wrongs.put("a connection field", h -> h.add("connection", "close"));
    wrongs.put("a transfer coding", h -> h.add("transfer-encoding", "chunked"));
    wrongs.put("an upgrade", h -> h.add("upgrade", "websocket"));
    wrongs.put("TE", h -> h.add("te", "gzip"));
    wrongs.put("no authority", h -> h.remove(":authority"));
    wrongs.put("another Host", h -> h.add("host", "b.test"));
    wrongs.put("userinfo", h -> h.authority("user@a.test"));
    wrongs.put("an authority that is none", h -> h.authority("a.test/x"));
    wrongs.put("no path", h -> h.remove(":path"));
    wrongs.put("an empty path", h -> h.path(""));
    wrongs.put("a path that is none", h -> h.path("x"));
    wrongs.put("a blank in the path", h -> h.path("/ HTTP/1.1\r\nhost: b.test"));
    wrongs.put("no method", h -> h.remove(":method"));
    wrongs.put("a method that is no token", h -> h.method("GET / "));
    wrongs.put("no scheme", h -> h.remove(":scheme"));
    wrongs.put("another scheme", h -> h.scheme("ftp"));
    wrongs.put("two lengths", h -> h.add("content-length", "0").add("content-length", "1"));
    wrongs.put("a length without a body", h -> h.add("content-length", "5"));
    wrongs.put("CONNECT", h -> h.method("CONNECT"));
    wrongs.put("an unknown pseudo field", h -> h.add(":protocol", "websocket"));
    try (HttpRig rig = new HttpRig(true);
        Peer.Listener a = rig.host("a.test")) {
      assertThat(a.address()).isNotNull();
      wrongs.forEach((what, wrong) -> {
        try (Http2Client client = new Http2Client(rig.loops.next(), rig.address())) {
          Http2Headers head = Http2Client.get("a.test", "/");
          wrong.accept(head);
          Stream stream = client.send(head);
          String answer = stream.next();
          assertThat(answer).as(what).matches("head 40[05]|reset 1|closed");
          assertThat(rig.asked).as(what).isEmpty();
        }
      });
    }
  }

  @Test
  void aBodyThatIsNotAsLongAsItSaysIsNotFinished() {
    try (HttpRig rig = new HttpRig(true);
        Peer.Listener a = rig.host("a.test");
        Http2Client client = new Http2Client(rig.loops.next(), rig.address())) {
      Stream stream =
          client.open().head(Http2Client.post("a.test", "/").add("content-length", "5"), false);
      try (Peer at = a.accept()) {
        at.head();
        stream.data("ab", true);
        assertThat(at.rest()).as("never whole").isIn("", "ab");
      }
      assertThat(stream.next()).matches("reset 1|head 400");
      assertThat(rig.next(rig.counted)).isEqualTo(Upstream.RequestEnd.CANCELLED);
    }
  }

  @Test
  void aStreamThatTheClientResetsTakesItsRequestWithItAndNoOther() {
    try (HttpRig rig = new HttpRig(true);
        Peer.Listener a = rig.host("a.test");
        Http2Client client = new Http2Client(rig.loops.next(), rig.address())) {
      Stream one = client.send(Http2Client.get("a.test", "/one"));
      try (Peer first = a.accept()) {
        first.head();
        Stream two = client.send(Http2Client.get("a.test", "/two"));
        try (Peer second = a.accept()) {
          second.head();
          one.reset();
          assertThat(first.rest()).isEmpty();
          second.send(OK);
          assertThat(two.next()).isEqualTo("head 200");
        }
      }
    }
  }

  @Test
  void aResponseThatBreaksOffResetsItsStreamAndNoOther() {
    try (HttpRig rig = new HttpRig(true);
        Peer.Listener a = rig.host("a.test");
        Http2Client client = new Http2Client(rig.loops.next(), rig.address())) {
      Stream one = client.send(Http2Client.get("a.test", "/one"));
      try (Peer first = a.accept()) {
        first.head();
        first.send("HTTP/1.1 200 OK\nContent-Length: 9\n\nsome").fin();
        assertThat(one.next()).isEqualTo("head 200");
        assertThat(one.next()).isEqualTo("data some");
        assertThat(one.next()).isEqualTo("reset 2");
      }
      Stream two = client.send(Http2Client.get("a.test", "/two"));
      try (Peer second = a.accept()) {
        second.head();
        second.send(OK);
        assertThat(two.next()).isEqualTo("head 200");
      }
    }
  }

  @Test
  void anEarlyResponseEndsTheRestOfTheRequest() {
    try (HttpRig rig = new HttpRig(true);
        Peer.Listener a = rig.host("a.test");
        Http2Client client = new Http2Client(rig.loops.next(), rig.address())) {
      Stream stream = client.open().head(Http2Client.post("a.test", "/"), false);
      try (Peer at = a.accept()) {
        at.head();
        at.send("HTTP/1.1 413 Too Large\nContent-Length: 0\n\n");
        assertThat(stream.next()).isEqualTo("head 413");
        assertThat(stream.next()).isEqualTo("end");
        assertThat(stream.next()).isEqualTo("reset 0");
      }
    }
  }

  /// client ─HTTP/1─▶ room ─HTTP/2─▶ room ─HTTP/1─▶ destination
  @Test
  void http1TravelsOverHttp2AndBack() {
    try (HttpRig far = new HttpRig(true);
        Peer.Listener a = far.host("a.test");
        HttpRig near = new HttpRig(false)) {
      near.host("a.test", far.address(), true, RequestPolicy.NONE);
      try (Peer client = near.client()) {
        client.send("GET /x?y HTTP/1.1\nHost: a.test:9080\nX-Mine: 1\n\n");
        try (Peer at = a.accept()) {
          assertThat(at.head()).isEqualTo("GET /x?y HTTP/1.1\nhost: a.test:9080\nx-mine: 1\n\n");
          at.send("HTTP/1.1 103 Early Hints\nLink: </x>\n\n" + OK);
          assertThat(client.head()).startsWith("HTTP/1.1 103 ");
          assertThat(client.until("ok")).isEqualTo("HTTP/1.1 200 OK\ncontent-length: 2\n\nok");

          client.send("HEAD / HTTP/1.1\nHost: a.test\n\n");
          at.head();
          at.send("HTTP/1.1 200 OK\nContent-Length: 9\n\n");
          assertThat(client.head()).contains("content-length: 9\n");

          client.send("GET / HTTP/1.1\nHost: a.test\n\n");
          at.head();
          at.send("HTTP/1.1 304 Not Modified\nETag: x\n\n");
          assertThat(client.head()).isEqualTo("HTTP/1.1 304 Not Modified\netag: x\n\n");

          client.send(
              """
              POST / HTTP/1.1
              Host: a.test
              Transfer-Encoding: chunked

              3
              abc
              0
              X-Sum: 3

              """);
          assertThat(at.head()).contains("transfer-encoding: chunked\n");
          assertThat(at.until("\n\n")).isEqualTo("3\nabc\n0\nx-sum: 3\n\n");
          at.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\nx\n0\nX-T: z\n\n");
          assertThat(client.until("z\n\n")).endsWith("\n\n1\nx\n0\nx-t: z\n\n");
        }
        assertThat(near.dials).as("one connection carries all").hasValue(1);

        client.send("GET / HTTP/1.1\nHost: a.test\n\n");
        try (Peer at = a.accept()) {
          at.head();
          at.send("HTTP/1.1 200 OK\nContent-Length: 9\n\nsome").fin();
          client.until("some");
          assertThat(client.endsInReset()).isTrue();
        }
      }
    }
  }

  @Test
  void http2TravelsOverOneHttp2Connection() {
    try (HttpRig far = new HttpRig(true);
        Peer.Listener a = far.host("a.test");
        HttpRig near = new HttpRig(true)) {
      near.host("a.test", far.address(), true, RequestPolicy.NONE);
      try (Http2Client client = new Http2Client(near.loops.next(), near.address())) {
        Stream one = client.send(Http2Client.get("a.test", "/one").add("te", "trailers"));
        Stream two = client.send(Http2Client.get("a.test", "/two"));
        try (Peer first = a.accept();
            Peer second = a.accept()) {
          assertThat(first.head() + second.head()).contains("GET /one ", "GET /two ");
          second.send(OK);
          first.send(OK);
          assertThat(one.next()).isEqualTo("head 200");
          assertThat(two.next()).isEqualTo("head 200");
        }
        assertThat(near.dials).hasValue(1);
      }
    }
  }
}
