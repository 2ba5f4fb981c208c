package io.tailwater.agent.dataplane.sniff;

import static org.assertj.core.api.Assertions.assertThat;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.tailwater.agent.traffic.HostName;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class HttpHeadTest {
  private static final String HTTP2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

  private static byte[] latin1(String s) {
    return s.getBytes(StandardCharsets.ISO_8859_1);
  }

  /// The answer for all of it, after making sure that one byte at a time gives the same.
  private static Sniffed sniff(String text) {
    byte[] bytes = latin1(text);
    Sniffed whole = new HttpHead().sniff(Unpooled.wrappedBuffer(bytes));
    HttpHead head = new HttpHead();
    ByteBuf all = Unpooled.wrappedBuffer(bytes);
    Sniffed last = Sniffed.NEED_MORE;
    for (int length = 0; length <= bytes.length; length++) {
      last = head.sniff(all.slice(0, length));
    }
    assertThat(last).isEqualTo(whole);
    return whole;
  }

  private static Preface.Http http(String text) {
    Sniffed sniffed = sniff(text);
    assertThat(sniffed).isInstanceOf(Sniffed.As.class);
    Preface preface = ((Sniffed.As) sniffed).preface();
    assertThat(preface).isInstanceOf(Preface.Http.class);
    return (Preface.Http) preface;
  }

  private static Optional<HostName> host(String text) {
    return http(text).host();
  }

  private static Optional<HostName> named(String name) {
    return Optional.of(HostName.of(name));
  }

  // -- what is read

  @Test
  void readsMethodPathAndHost() {
    assertThat(http("GET /wiki/Tide HTTP/1.1\r\nHost: en.wikipedia.org\r\n\r\n"))
        .isEqualTo(
            new Preface.Http(
                named("en.wikipedia.org"), Optional.empty(), false, "GET", "/wiki/Tide"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"OPTIONS", "M-SEARCH", "VERSION-CONTROL", "PRINT", "P", "X_1"})
  void readsAnyMethodInCapitals(String method) {
    assertThat(http(method + " / HTTP/1.1\r\nHost: a.org\r\n\r\n").method()).isEqualTo(method);
  }

  @Test
  void readsThePortOfTheHost() {
    Preface.Http http = http("GET / HTTP/1.1\r\nHost: a.org:8080\r\n\r\n");

    assertThat(http.host()).isEqualTo(named("a.org"));
    assertThat(http.port()).hasValue(8080);
  }

  @Test
  void anEmptyPortIsNone() {
    Preface.Http http = http("GET / HTTP/1.1\r\nHost: a.org:\r\n\r\n");

    assertThat(http.host()).isEqualTo(named("a.org"));
    assertThat(http.port()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"Host:a.org", "HOST: a.org", "hOsT:\t a.org \t", "Host: A.ORG."})
  void readsTheHostFieldInAnySpelling(String field) {
    assertThat(host("GET / HTTP/1.1\r\nAccept: */*\r\n" + field + "\r\nX: y\r\n\r\n"))
        .isEqualTo(named("a.org"));
  }

  @Test
  void fieldsWhoseNameOnlyBeginsLikeHostAreNotIt() {
    assertThat(host("GET / HTTP/1.1\r\nHosts: b\r\nX-Host: b\r\nHos: b\r\nHost: a.org\r\n\r\n"))
        .isEqualTo(named("a.org"));
  }

  @Test
  void whatFollowsTheHeadIsNotLookedAt() {
    assertThat(host("POST / HTTP/1.1\r\nHost: a.org\r\n\r\nHost: b.org\r\n\r\n\0"))
        .isEqualTo(named("a.org"));
  }

  @Test
  void http10WithoutHostHasNoHost() {
    assertThat(http("GET / HTTP/1.0\r\n\r\n"))
        .isEqualTo(new Preface.Http(Optional.empty(), Optional.empty(), false, "GET", "/"));
  }

  @Test
  void thePathIsShownWithoutItsQueryAndInAscii() {
    assertThat(http("GET /a?token=secret HTTP/1.1\r\n\r\n").path()).isEqualTo("/a");
    assertThat(http("GET /a#part HTTP/1.1\r\n\r\n").path()).isEqualTo("/a");
    assertThat(http("GET /\u00fc\u0085 HTTP/1.1\r\n\r\n").path()).isEqualTo("/%FC%85");
    assertThat(http("GET /" + "a".repeat(9000) + " HTTP/1.1\r\n\r\n").path())
        .hasSizeLessThanOrEqualTo(1026);
  }

  // -- targets

  @ParameterizedTest
  @CsvSource({
    "http://a.org/x, a.org, , /x",
    "http://a.org, a.org, , /",
    "http://a.org?q, a.org, , /",
    "HTTP://A.org:8080/x?q, a.org, 8080, /x",
    "https://a.org/, a.org, , /",
  })
  void readsTheAbsoluteForm(String target, String host, Integer port, String path) {
    Preface.Http http = http("GET " + target + " HTTP/1.1\r\n\r\n");

    assertThat(http.host()).isEqualTo(named(host));
    assertThat(http.port()).isEqualTo(Optional.ofNullable(port));
    assertThat(http.path()).isEqualTo(path);
  }

  @ParameterizedTest
  @CsvSource({
    "http://a.org/, a.org",
    "http://a.org/, A.ORG",
    "http://a.org:80/, a.org",
    "http://a.org/, a.org:80",
    "https://a.org/, a.org:443"
  })
  void anAbsoluteFormThatAgreesWithHostIsTaken(String target, String host) {
    assertThat(host("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"))
        .isEqualTo(named("a.org"));
  }

  @ParameterizedTest
  @CsvSource({
    "http://a.org/, b.org",
    "http://a.org/, a.org:81",
    "http://a.org:81/, a.org",
    "http://a.org/, 192.0.2.1",
    "http://a.org/, a b",
    "http://user@a.org/, a.org",
    "http:///, a.org",
    "http://a.org:0/, a.org",
    "ftp://a.org/, a.org",
    "a.org/, a.org",
    "://a.org/, a.org"
  })
  void aTargetThatContradictsHostLeavesNoHost(String target, String host) {
    assertThat(host("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")).isEmpty();
  }

  @Test
  void readsTheAuthorityOfConnect() {
    Preface.Http http = http("CONNECT a.org:443 HTTP/1.1\r\nHost: a.org:443\r\n\r\n");

    assertThat(http.host()).isEqualTo(named("a.org"));
    assertThat(http.port()).hasValue(443);
    assertThat(host("CONNECT a.org:443 HTTP/1.1\r\nHost: b.org:443\r\n\r\n")).isEmpty();
  }

  @Test
  void readsTheAsteriskForm() {
    assertThat(http("OPTIONS * HTTP/1.1\r\nHost: a.org\r\n\r\n"))
        .isEqualTo(new Preface.Http(named("a.org"), Optional.empty(), false, "OPTIONS", "*"));
  }

  // -- hosts that nobody may pick

  @ParameterizedTest
  @ValueSource(
      strings = {
        "Host: a.org\r\nHost: b.org",
        "Host: a.org\r\nHost: a.org",
        "Host: a.org\r\nhost:",
        "Host: a.org, b.org",
        "Host: a.org b.org",
        "Host: ",
        "Host : a.org",
        "Host\t: a.org",
        " Host: a.org",
        "Host: a.org\r\n b.org",
        "Host:\r\n a.org",
        "X: y\r\n Host: b.org\r\nHost: a.org",
        "Host: a.org\nX: y",
        "Host: a.org\r\nX: y\nHost: b.org",
        "Host: a.org\rHost: b.org",
        "X: y\rHost: b.org\r\nHost: a.org",
        "Host: a.org\0",
        "Host: a.org\r\nX: \0",
        "Host: a.org\r\nX: \u000b",
        "Host: a.org\r\nno colon",
        "Host: a.org\r\n: empty",
        "Host: a.org\r\nb\u00e4d: x",
        "Host: a.org:x",
        "Host: a.org:0",
        "Host: a.org:65536",
        "Host: a.org:123456",
        "Host: a.org:80:80",
        "Host: a.org:-1",
        "Host: user@a.org",
        "Host: a..org",
        "Host: a.org..",
        "Host: b\u00fccher.example",
        "Host: a.org/",
        "Host: http://a.org"
      })
  void aHostThatTwoReadersCouldTakeForDifferentOnesIsNone(String fields) {
    Preface.Http http = http("GET / HTTP/1.1\r\n" + fields + "\r\n\r\n");

    assertThat(http.host()).isEmpty();
    assertThat(http.port()).isEmpty();
    assertThat(http.path()).isEqualTo("/");
  }

  @Test
  void aBareLineFeedBehindTheRequestLineLeavesNoHost() {
    assertThat(host("GET / HTTP/1.1\nHost: a.org\r\n\r\n")).isEmpty();
    assertThat(host("GET / HTTP/1.1\r\nHost: a.org\r\n\n")).isEmpty();
  }

  @ParameterizedTest
  @CsvSource({
    "192.0.2.1, ",
    "192.0.2.1:8080, 8080",
    "[2001:db8::1], ",
    "[2001:db8::1]:8080, 8080",
    "[::ffff:192.0.2.1]:80, 80"
  })
  void anAddressIsNoNameButItsPortIsTold(String host, Integer port) {
    Preface.Http http = http("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n");

    assertThat(http.host()).isEmpty();
    assertThat(http.port()).isEqualTo(Optional.ofNullable(port));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"[", "[]", "[::1", "[::1]x", "[a.org]", "[::1]80", "::1", "1.2.3", "0x7f.1"})
  void brokenAddressesHaveNeither(String host) {
    Preface.Http http = http("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n");

    assertThat(http.host()).isEmpty();
    assertThat(http.port()).isEmpty();
  }

  // -- HTTP/2

  @Test
  void recognisesThePrefaceOfHttp2() {
    assertThat(sniff(HTTP2))
        .isEqualTo(
            new Sniffed.As(new Preface.Http(Optional.empty(), Optional.empty(), true, "PRI", "*")));
    assertThat(sniff(HTTP2 + "\0\0\0\4\0")).isEqualTo(sniff(HTTP2));
  }

  @Test
  void needsAllOfThePrefaceOfHttp2() {
    for (int length = 1; length < HTTP2.length(); length++) {
      assertThat(sniff(HTTP2.substring(0, length))).isEqualTo(Sniffed.NEED_MORE);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "PRI * HTTP/2.0\r\nHost",
        "PRI * HTTP/2.0\r\n\r\nSN",
        "PRI * HTTP/2.0\n",
        "PRI / HTTP/2.0\r\n"
      })
  void whatOnlyBeginsLikeHttp2IsNotHttp(String text) {
    assertThat(sniff(text)).isEqualTo(Sniffed.NOT);
  }

  // -- what is not HTTP

  @ParameterizedTest
  @ValueSource(
      strings = {
        "get",
        "\0",
        "\u0016",
        " ",
        "\r\n",
        "1",
        "*1\r\n",
        "{",
        "\u0080",
        "SSH-2.0-OpenSSH_10.0\r\n",
        "EHLO\r\n",
        "EHLO a.org\r\n",
        "GET /\r\n",
        "GET /a b HTTP/1.1\r\n",
        "GET  HTTP/1.1\r\n",
        "GET / HTTP/1.10\r\n",
        "GET / HTTP/2.0\r\n",
        "GET / HTTP/0.9\r\n",
        "GET / HTTP/1.x\r\n",
        "GET / http/1.1\r\n",
        "GET /\t",
        "GET /\0",
        "GET / HTTP/1.1\rX",
        "GE\tT",
        "GET\r",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJ"
      })
  void otherProtocolsAreNotHttp(String text) {
    assertThat(sniff(text)).isEqualTo(Sniffed.NOT);
  }

  @Test
  void nothingIsDecidedBeforeTheHeadEnds() {
    String head = "GET / HTTP/1.1\r\nHost: a.org\r\nX: y\r\n\r\n";
    for (int length = 0; length < head.length(); length++) {
      assertThat(sniff(head.substring(0, length))).isEqualTo(Sniffed.NEED_MORE);
    }
  }

  @Test
  void aHeadLongerThanTheLimitIsNotLookedAtFurther() {
    String start = "GET / HTTP/1.1\r\nHost: a.org\r\nX: ";
    String end = "\r\n\r\n";
    String fits = start + "x".repeat(HttpHead.MAX_BYTES - start.length() - end.length()) + end;

    assertThat(host(fits)).isEqualTo(named("a.org"));
    assertThat(sniff(fits.replace(end, "x" + end))).isEqualTo(Sniffed.NOT);
    assertThat(sniff("GET /" + "a".repeat(20_000))).isEqualTo(Sniffed.NOT);
  }

  // -- the end

  @Test
  void aHeadThatEndsInTheMiddleIsHttpWithoutHost() {
    HttpHead head = new HttpHead();
    head.sniff(Unpooled.wrappedBuffer(latin1("GET /x HTTP/1.1\r\nHost: a.org\r\n")));

    assertThat(head.atEnd())
        .isEqualTo(new Preface.Http(Optional.empty(), Optional.empty(), false, "GET", "/x"));
  }

  @Test
  void aRequestLineThatEndsInTheMiddleIsOpaque() {
    HttpHead head = new HttpHead();
    head.sniff(Unpooled.wrappedBuffer(latin1("GET /x HTT")));

    assertThat(head.atEnd()).isEqualTo(new Preface.Opaque());
  }
}
