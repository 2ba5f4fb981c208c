package io.tailwater.agent.dataplane.http;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.http.HttpObserver.HttpEnd;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// What two readers could read differently is never sent on.
class HttpStrictnessTest {
  private static final String OK = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

  /// Whole requests; `\r`, `\n`, `\t`, `\0` are escapes here, `|` stands for CRLF.
  @ParameterizedTest
  @ValueSource(
      strings = {
        // framing
        "POST / HTTP/1.1|Host: a.test|Content-Length: 3|Transfer-Encoding: chunked||0||",
        "POST / HTTP/1.1|Host: a.test|Transfer-Encoding: chunked|Content-Length: 3||0||",
        "POST / HTTP/1.1|Host: a.test|Content-Length: 3|Content-Length: 4||abcd",
        "POST / HTTP/1.1|Host: a.test|Content-Length: 3|Content-Length: 3||abc",
        "POST / HTTP/1.1|Host: a.test|Content-Length: 3, 3||abc",
        "POST / HTTP/1.1|Host: a.test|Content-Length: +3||abc",
        "POST / HTTP/1.1|Host: a.test|Content-Length: -1||",
        "POST / HTTP/1.1|Host: a.test|Content-Length: 0x3||abc",
        "POST / HTTP/1.1|Host: a.test|Content-Length:||abc",
        "POST / HTTP/1.1|Host: a.test|Content-Length: 99999999999999999999||abc",
        "POST / HTTP/1.1|Host: a.test|Transfer-Encoding: gzip||",
        "POST / HTTP/1.1|Host: a.test|Transfer-Encoding: gzip, chunked||0||",
        "POST / HTTP/1.1|Host: a.test|Transfer-Encoding: chunked, gzip||0||",
        "POST / HTTP/1.1|Host: a.test|Transfer-Encoding: chunked|Transfer-Encoding: chunked||0||",
        "POST / HTTP/1.1|Host: a.test|Transfer-Encoding: xchunked||0||",
        "POST / HTTP/1.1|Host: a.test|Transfer-Encoding: identity||",
        "POST / HTTP/1.1|Host: a.test|Transfer-Encoding: \\x0bchunked||0||",
        "POST / HTTP/1.0|Host: a.test|Transfer-Encoding: chunked||0||",
        "POST / HTTP/1.1|Host: a.test|Transfer-Encoding : chunked||0||",
        "POST / HTTP/1.1|Host: a.test|Transfer-Encoding\\t: chunked||0||",
        "POST / HTTP/1.1|Host: a.test|Transfer-Encoding:|\\tchunked||0||",
        // lines
        "GET / HTTP/1.1|Host: a.test|X: one|\\ttwo||",
        "GET / HTTP/1.1|Host: a.test|X: one|\\x20two||",
        "GET / HTTP/1.1|\\x20Host: a.test||",
        "GET / HTTP/1.1|Host: a.test|X: one\\nY: two||",
        "GET / HTTP/1.1|Host: a.test|X: one\\rY: two||",
        "GET / HTTP/1.1\\nHost: a.test\\n\\n",
        "GET / HTTP/1.1|Host: a.test|X: a\\x00b||",
        "GET / HTTP/1.1|Host: a.test|X: a\\x7fb||",
        "GET / HTTP/1.1|Host: a.test|X\\x00: a||",
        "GET / HTTP/1.1|Host: a.test|no colon||",
        "GET / HTTP/1.1|Host: a.test|: no name||",
        "GET / HTTP/1.1|Host: a.test|X(y): z||",
        "GET / HTTP/1.1|Host: a.test|X\\xe4: z||",
        "||GET / HTTP/1.1|Host: a.test||",
        "\\nGET / HTTP/1.1|Host: a.test||",
        // the request line
        "GET  / HTTP/1.1|Host: a.test||",
        "GET\\t/ HTTP/1.1|Host: a.test||",
        "GET /  HTTP/1.1|Host: a.test||",
        "GET / HTTP/1.1 |Host: a.test||",
        "GET /a b HTTP/1.1|Host: a.test||",
        "GET /\\xc3\\xa4 HTTP/1.1|Host: a.test||",
        "GET /\\x00 HTTP/1.1|Host: a.test||",
        "GET /a#b HTTP/1.1|Host: a.test||",
        "GET / HTTP/1.1x|Host: a.test||",
        "GET / HTTP/11|Host: a.test||",
        "GET / http/1.1|Host: a.test||",
        "GET /|Host: a.test||",
        "GET / JUNK/1.1|Host: a.test||",
        "G(T / HTTP/1.1|Host: a.test||",
        "GET a.test HTTP/1.1|Host: a.test||",
        "GET * HTTP/1.1|Host: a.test||",
        "GET https://a.test/ HTTP/1.1|Host: a.test||",
        "GET ftp://a.test/ HTTP/1.1|Host: a.test||",
        "GET http:/// HTTP/1.1|Host: a.test||",
        "GET http://user@a.test/ HTTP/1.1|Host: a.test||",
        "GET http://b.test\\x5c@a.test/ HTTP/1.1|Host: a.test||",
        // the host
        "GET / HTTP/1.1||",
        "GET / HTTP/1.0||",
        "GET http://a.test/ HTTP/1.1||",
        "GET / HTTP/1.1|Host:||",
        "GET / HTTP/1.1|Host: a.test|Host: a.test||",
        "GET / HTTP/1.1|Host: a.test|host: b.test||",
        "GET / HTTP/1.1|Host: a.test, b.test||",
        "GET / HTTP/1.1|Host: a.test b.test||",
        "GET / HTTP/1.1|Host: user@a.test||",
        "GET / HTTP/1.1|Host: a.test/x||",
        "GET / HTTP/1.1|Host: a.test:||x",
        "GET / HTTP/1.1|Host: a.test:99999||",
        "GET / HTTP/1.1|Host: a.test:0||",
        "GET / HTTP/1.1|Host: a.test:80:80||",
        "GET / HTTP/1.1|Host: a..test||",
        "GET / HTTP/1.1|Host: a.t\\xebst||",
        "GET / HTTP/1.1|Host: [::1||",
        "GET / HTTP/1.1|Host: 0x7f.1||",
        // fields that would take away what others read by
        "GET / HTTP/1.1|Host: a.test|Connection: Host||",
        "POST / HTTP/1.1|Host: a.test|Connection: content-length|Content-Length: 1||x",
        "POST / HTTP/1.1|Host: a.test|Connection: x, Transfer-Encoding|Transfer-Encoding:"
            + " chunked||0||",
        "GET / HTTP/1.1|Host: a.test|Connection: a b||",
      })
  void isAnswered400AndClosed(String request) {
    if (request.contains("a.test:||x")) {
      return; // an empty port is fine, see below
    }
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      assertThat(a.address()).isNotNull();
      client.raw(unescaped(request));
      String answer = client.rest();
      assertThat(answer).startsWith("HTTP/1.1 400 Bad Request\n").contains("connection: close\n");
      assertThat(answer.split("HTTP/1\\.1 [0-9]", -1)).as("one answer").hasSize(2);
      assertThat(rig.dials).hasValue(0);
      assertThat(rig.asked).isEmpty();
      assertThat(rig.record().status()).isEqualTo(400);
      client.fin();
      assertThat(rig.next(rig.ends)).isEqualTo(HttpEnd.BAD_REQUEST);
    }
  }

  private static String unescaped(String text) {
    StringBuilder out = new StringBuilder();
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (c == '|') {
        out.append("\r\n");
      } else if (c == '\\') {
        char what = text.charAt(++i);
        switch (what) {
          case 'n' -> out.append('\n');
          case 'r' -> out.append('\r');
          case 't' -> out.append('\t');
          default -> {
            out.append((char) Integer.parseInt(text.substring(i + 1, i + 3), 16));
            i += 2;
          }
        }
      } else {
        out.append(c);
      }
    }
    return out.toString();
  }

  @ParameterizedTest
  @CsvSource({
    "'GET / HTTP/2.0', 505",
    "'GET / HTTP/1.2', 505",
    "'GET / HTTP/0.9', 505",
    "'CONNECT a.test:443 HTTP/1.1', 405",
  })
  void someAreAnsweredOtherwiseAndClosedToo(String line, int status) {
    try (HttpRig rig = new HttpRig(false);
        Peer client = rig.client()) {
      // CONNECT has a target that is an authority
      client.send(line + "\nHost: a.test\n\n");
      assertThat(client.rest()).startsWith("HTTP/1.1 " + status + " ");
      assertThat(rig.asked).isEmpty();
    }
  }

  @Test
  void anExpectationThatIsNotKnownIs417() {
    try (HttpRig rig = new HttpRig(false);
        Peer client = rig.client()) {
      client.send("GET / HTTP/1.1\nHost: a.test\nExpect: the-unexpected\n\n");
      assertThat(client.rest()).startsWith("HTTP/1.1 417 ");
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "0x1|a|0||",
        "g|a|0||",
        "-1|a|0||",
        "+1|a|0||",
        " 1|a|0||",
        "1 |a|0||",
        "|a|0||",
        ";x|a|0||",
        "1|ab|0||",
        "1|a0||",
        "1\\na|0||",
        "1|a\\n0||",
        "FFFFFFFFFFFFFFFFF|a|0||",
        "80000000|a|0||",
        "1;x\\ny|a|0||",
        "1|a|0|Bad Trailer: x||",
        "1|a|0|X: y\\n||",
      })
  void aBadChunkEndsTheRequestAndTheConnection(String body) {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("POST / HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\n\n");
      try (Peer at = a.accept()) {
        at.head();
        client.raw(unescaped(body));
        assertThat(client.rest()).startsWith("HTTP/1.1 400 ").contains("connection: close\n");
        String seen = at.rest();
        assertThat(seen).as("the request is never finished").doesNotContain("\n0\n");
      }
      assertThat(rig.next(rig.counted)).isEqualTo(Upstream.RequestEnd.CANCELLED);
    }
  }

  @Test
  void anEmptyPortIsNoPort() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("GET / HTTP/1.1\nHost: a.test:\n\n");
      try (Peer at = a.accept()) {
        assertThat(at.head()).contains("host: a.test\n");
      }
    }
  }

  @Test
  void aHeadThatIsTooLargeIs431AndATargetThatIsTooLong414() {
    try (HttpRig rig = new HttpRig(false)) {
      try (Peer client = rig.client()) {
        client.send("GET / HTTP/1.1\nHost: a.test\nX: " + "x".repeat(70_000) + "\n\n");
        assertThat(client.rest()).startsWith("HTTP/1.1 431 ");
      }
      try (Peer client = rig.client()) {
        client.send("GET /" + "x".repeat(70_000) + " HTTP/1.1\nHost: a.test\n\n");
        assertThat(client.rest()).startsWith("HTTP/1.1 414 ");
      }
      try (Peer client = rig.client()) {
        client.send("GET / HTTP/1.1\nHost: a.test\n" + "X: y\n".repeat(101) + "\n");
        assertThat(client.rest()).startsWith("HTTP/1.1 431 ");
      }
    }
  }

  @Test
  void whatIsAboutOneConnectionStaysThere() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send(
          """
          GET / HTTP/1.1
          Host: a.test
          Connection: keep-alive, X-Hop
          X-Hop: gone
          Keep-Alive: timeout=5
          Proxy-Connection: keep-alive
          TE: trailers
          Upgrade: h2c
          HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA
          X-Stays: yes

          """);
      try (Peer at = a.accept()) {
        assertThat(at.head()).isEqualTo("GET / HTTP/1.1\nhost: a.test\nX-Stays: yes\n\n");
        at.send(
            """
            HTTP/1.1 200 OK
            Connection: X-Hop, close
            X-Hop: gone
            Keep-Alive: timeout=5
            Content-Length: 2
            X-Stays: yes

            ok\
            """);
        assertThat(client.until("ok"))
            .isEqualTo("HTTP/1.1 200 OK\nContent-Length: 2\nX-Stays: yes\n\nok");
      }
      // the destination's close is not the client's
      client.send("GET / HTTP/1.1\nHost: a.test\n\n");
      try (Peer at = a.accept()) {
        at.head();
      }
    }
  }

  @Test
  void anUpgradeToHttp2IsNotPassedOn() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send(
          """
          GET / HTTP/1.1
          Host: a.test
          Connection: Upgrade, HTTP2-Settings
          Upgrade: h2c
          HTTP2-Settings: AAMAAABk

          """);
      try (Peer at = a.accept()) {
        assertThat(at.head()).isEqualTo("GET / HTTP/1.1\nhost: a.test\n\n");
        at.send(OK);
        assertThat(client.until("ok")).startsWith("HTTP/1.1 200 ");
      }
    }
  }

  @Test
  void bytesThatAreNotAsciiArriveInAFieldAsTheyCame() {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("GET / HTTP/1.1\nHost: a.test\nX: \u00c3\u00a4\n\n");
      try (Peer at = a.accept()) {
        assertThat(at.head()).contains("X: \u00c3\u00a4\n");
        at.send("HTTP/1.1 200 OK\nContent-Length: 0\nY: \u00e4\n\n");
        assertThat(client.head()).contains("Y: \u00e4\n");
      }
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "HTTP/1.1 200 OK|Content-Length: 1|Content-Length: 2||xx",
        "HTTP/1.1 200 OK|Content-Length: 1|Transfer-Encoding: chunked||0||",
        "HTTP/1.1 200 OK|Transfer-Encoding: chunked, gzip||0||",
        "HTTP/1.1 200 OK|nocolon||",
        "HTTP/1.1 200 OK|X: a\\x00b|Content-Length: 0||",
        "HTTP/1.1 abc OK||",
        "SSH-2.0-OpenSSH|",
        "HTTP/1.1 101 Switching Protocols|Connection: upgrade|Upgrade: websocket||",
      })
  void aMalformedResponseIsA502(String response) {
    try (HttpRig rig = new HttpRig(false);
        Peer.Listener a = rig.host("a.test");
        Peer client = rig.client()) {
      client.send("GET / HTTP/1.1\nHost: a.test\n\n");
      try (Peer at = a.accept()) {
        at.head();
        at.raw(unescaped(response)).fin();
        assertThat(client.head()).startsWith("HTTP/1.1 502 Bad Gateway\n");
      }
      assertThat(rig.next(rig.counted)).isEqualTo(Upstream.RequestEnd.RESET);
    }
  }
}
