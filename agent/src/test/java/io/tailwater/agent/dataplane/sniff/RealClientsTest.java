package io.tailwater.agent.dataplane.sniff;

import static org.assertj.core.api.Assertions.assertThat;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.tailwater.agent.traffic.HostName;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// What `openssl s_client` and `curl` of this machine send first, taken from a loopback socket. No
/// root. Skips where the program is missing, and fails there if `CI` is set.
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class RealClientsTest {
  private static final Preface.Tls EN = new Preface.Tls(HostName.of("en.wikipedia.org"), false);

  private static void need(String program) {
    boolean there =
        Arrays.stream(Optional.ofNullable(System.getenv("PATH")).orElse("").split(":"))
            .anyMatch(folder -> Files.isExecutable(Path.of(folder, program)));
    if (!there && "true".equals(System.getenv("CI"))) {
      Assertions.fail(program + " is not on the PATH");
    }
    Assumptions.assumeTrue(there, program + " is not on the PATH: skipped");
  }

  /// Starts the command with the port of a listener put in for PORT, feeds what it sends to a
  /// sniffer as it comes, and ends it.
  private static Preface firstWords(String... command) throws IOException, InterruptedException {
    try (ServerSocket listener = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      listener.setSoTimeout(20_000);
      List<String> line = new ArrayList<>();
      for (String word : command) {
        line.add(word.replace("PORT", Integer.toString(listener.getLocalPort())));
      }
      Process client =
          new ProcessBuilder(line)
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .redirectInput(ProcessBuilder.Redirect.PIPE)
              .start();
      try (Socket socket = listener.accept()) {
        socket.setSoTimeout(20_000);
        return read(socket.getInputStream());
      } finally {
        client.destroyForcibly();
        assertThat(client.waitFor(20, TimeUnit.SECONDS)).isTrue();
      }
    }
  }

  private static Preface read(InputStream in) throws IOException {
    PrefaceSniffer sniffer = new PrefaceSniffer(ClientHello.MAX_BYTES);
    ByteBuf all = Unpooled.buffer();
    byte[] some = new byte[4096];
    while (true) {
      int count = in.read(some);
      if (count < 0) {
        return sniffer.atEnd(all);
      }
      all.writeBytes(some, 0, count);
      if (sniffer.sniff(all) instanceof Sniffed.As(Preface preface)) {
        return preface;
      }
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "-tls1_3",
        "-tls1_2",
        "-tls1_2 -cipher ALL:@SECLEVEL=0",
        "-tls1_1 -cipher ALL:@SECLEVEL=0",
        "-tls1 -cipher ALL:@SECLEVEL=0",
        "-tls1 -legacy_renegotiation -no_ticket -cipher ALL:@SECLEVEL=0",
        "-alpn h2,http/1.1 -status -nextprotoneg http/1.1",
        "-groups P-521:X25519:P-256",
        "-sigalgs RSA+SHA256",
        "-status",
        "-no_middlebox",
        "-max_send_frag 512 -alpn h2",
        "-maxfraglen 512",
        "-record_padding 512"
      })
  void readsTheNameThatOpensslSends(String flags) throws Exception {
    need("openssl");
    String command = "openssl s_client -connect 127.0.0.1:PORT -servername en.wikipedia.org";

    assertThat(firstWords((command + " " + flags).trim().split(" +"))).isEqualTo(EN);
  }

  @Test
  void readsTheNameOfALargeOpensslHelloCutIntoRecords() throws Exception {
    need("openssl");
    String protocols = "p".repeat(200) + (",q" + "r".repeat(200)).repeat(12);

    assertThat(
            firstWords(
                ("openssl s_client -connect 127.0.0.1:PORT -servername en.wikipedia.org"
                        + " -max_send_frag 512 -split_send_frag 512 -alpn "
                        + protocols)
                    .split(" ")))
        .isEqualTo(EN);
  }

  @Test
  void readsThatOpensslSendsNoName() throws Exception {
    need("openssl");

    assertThat(firstWords("openssl s_client -connect 127.0.0.1:PORT -noservername".split(" ")))
        .isEqualTo(new Preface.TlsWithoutName());
  }

  @ParameterizedTest
  @ValueSource(strings = {"bad name", "en.wikipedia.org:443", "*.wikipedia.org", "127.0.0.1"})
  void refusesTheNamesThatOpensslLetsThrough(String name) throws Exception {
    need("openssl");

    assertThat(firstWords("openssl", "s_client", "-connect", "127.0.0.1:PORT", "-servername", name))
        .isInstanceOf(Preface.MalformedTls.class);
  }

  @ParameterizedTest
  @ValueSource(strings = {"--tlsv1.3", "--tls-max 1.2", "--http1.1", "--no-alpn", "--false-start"})
  void readsTheNameThatCurlSends(String flags) throws Exception {
    need("curl");
    String command =
        "curl -q -sk -m 20 --noproxy * --resolve en.wikipedia.org:PORT:127.0.0.1"
            + " https://en.wikipedia.org:PORT/ ";

    assertThat(firstWords((command + flags).split(" "))).isEqualTo(EN);
  }

  @ParameterizedTest
  @ValueSource(strings = {"--http1.1", "--http1.0", "--http2"})
  void readsTheRequestThatCurlSends(String flags) throws Exception {
    need("curl");
    String command =
        "curl -q -s -m 20 --noproxy * --resolve en.wikipedia.org:PORT:127.0.0.1"
            + " http://en.wikipedia.org:PORT/wiki/Tide?x=y ";

    assertThat(firstWords((command + flags).split(" ")))
        .isInstanceOfSatisfying(
            Preface.Http.class,
            http -> {
              assertThat(http.host()).hasValue(HostName.of("en.wikipedia.org"));
              assertThat(http.port()).isPresent();
              assertThat(http.method()).isEqualTo("GET");
              assertThat(http.path()).isEqualTo("/wiki/Tide");
              assertThat(http.http2()).isFalse();
            });
  }

  @Test
  void readsThatCurlSpeaksHttp2() throws Exception {
    need("curl");

    assertThat(
            firstWords(
                ("curl -q -s -m 20 --noproxy * --http2-prior-knowledge" + " http://127.0.0.1:PORT/")
                    .split(" ")))
        .isEqualTo(new Preface.Http(Optional.empty(), Optional.empty(), true, "PRI", "*"));
  }
}
