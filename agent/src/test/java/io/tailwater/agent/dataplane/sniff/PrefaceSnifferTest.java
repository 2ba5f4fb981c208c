package io.tailwater.agent.dataplane.sniff;

import static io.tailwater.agent.dataplane.sniff.ClientHelloBytes.named;
import static io.tailwater.agent.dataplane.sniff.ClientHelloBytes.withoutName;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.tailwater.agent.traffic.HostName;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class PrefaceSnifferTest {
  private static final HostName NAME = HostName.of("en.wikipedia.org");

  private static PrefaceSniffer sniffer() {
    return new PrefaceSniffer(ClientHello.MAX_BYTES);
  }

  private static ByteBuf bytes(String s) {
    return Unpooled.copiedBuffer(s, StandardCharsets.ISO_8859_1);
  }

  private static Sniffed as(Preface preface) {
    return new Sniffed.As(preface);
  }

  @Test
  void tellsTlsHttpAndNeitherApart() {
    assertThat(sniffer().sniff(named("en.wikipedia.org").buffer()))
        .isEqualTo(as(new Preface.Tls(NAME, false)));
    assertThat(sniffer().sniff(withoutName().buffer())).isEqualTo(as(new Preface.TlsWithoutName()));
    assertThat(sniffer().sniff(bytes("GET / HTTP/1.1\r\nHost: en.wikipedia.org\r\n\r\n")))
        .isEqualTo(as(new Preface.Http(Optional.of(NAME), Optional.empty(), false, "GET", "/")));
    assertThat(sniffer().sniff(bytes("\0\0\0\1"))).isEqualTo(as(new Preface.Opaque()));
  }

  @Test
  void isOpaqueFromTheFirstByteThatBeginsNeither() {
    for (int first = 0; first < 256; first++) {
      Sniffed sniffed = sniffer().sniff(Unpooled.wrappedBuffer(new byte[] {(byte) first}));

      if (first == 22 || (first >= 'A' && first <= 'Z')) {
        assertThat(sniffed).isEqualTo(Sniffed.NEED_MORE);
      } else {
        assertThat(sniffed).isEqualTo(as(new Preface.Opaque()));
      }
    }
  }

  @Test
  void whatBeginsAsTlsIsNeverOpaque() {
    for (int second = 0; second < 256; second++) {
      for (int third : new int[] {0, 1, 'A'}) {
        PrefaceSniffer sniffer = sniffer();
        ByteBuf bytes =
            Unpooled.wrappedBuffer(new byte[] {22, (byte) second, (byte) third, 2, 0, 'x', 'y'});

        assertThat(sniffer.atEnd(bytes)).isInstanceOf(Preface.MalformedTls.class);
      }
    }
  }

  @Test
  void nothingYetNeedsMore() {
    PrefaceSniffer sniffer = sniffer();

    assertThat(sniffer.sniff(Unpooled.EMPTY_BUFFER)).isEqualTo(Sniffed.NEED_MORE);
    assertThat(sniffer.sniff(named("en.wikipedia.org").buffer()))
        .isEqualTo(as(new Preface.Tls(NAME, false)));
  }

  @Test
  void anSsl2HelloIsOpaque() {
    assertThat(sniffer().sniff(bytes("\u0080\56\1\3\1\0\25\0\0\0\20")))
        .isEqualTo(as(new Preface.Opaque()));
  }

  @Test
  void theAnswerStays() {
    PrefaceSniffer sniffer = sniffer();
    sniffer.sniff(bytes("\0"));

    assertThat(sniffer.sniff(bytes("\0GET"))).isEqualTo(as(new Preface.Opaque()));
    assertThat(sniffer.atEnd(bytes("\0GET"))).isEqualTo(new Preface.Opaque());
  }

  @Test
  void aSilentClientIsSilentAtTheEnd() {
    assertThat(sniffer().atEnd(Unpooled.EMPTY_BUFFER)).isEqualTo(new Preface.Silent());
  }

  @Test
  void aPartialHelloIsMalformedAtTheEnd() {
    byte[] hello = named("en.wikipedia.org").record();
    for (int length = 1; length < hello.length; length++) {
      PrefaceSniffer sniffer = sniffer();

      assertThat(sniffer.atEnd(Unpooled.wrappedBuffer(hello, 0, length)))
          .isInstanceOfSatisfying(
              Preface.MalformedTls.class,
              m -> assertThat(m.why()).isEqualTo("the ClientHello ended in the middle"));
    }
  }

  @Test
  void aCompleteHelloAtTheEndIsRead() {
    assertThat(sniffer().atEnd(named("en.wikipedia.org").buffer()))
        .isEqualTo(new Preface.Tls(NAME, false));
  }

  @Test
  void aPartialRequestIsHttpWithoutHostAtTheEnd() {
    assertThat(sniffer().atEnd(bytes("GET / HTTP/1.1\r\nHost: a.org\r\n")))
        .isEqualTo(new Preface.Http(Optional.empty(), Optional.empty(), false, "GET", "/"));
    assertThat(sniffer().atEnd(bytes("GET"))).isEqualTo(new Preface.Opaque());
  }

  @Test
  void tellsOfATrailingDot() {
    PrefaceSniffer sniffer = sniffer();

    assertThat(sniffer.trailingDot()).isFalse();
    sniffer.sniff(named("en.wikipedia.org.").buffer());
    assertThat(sniffer.trailingDot()).isTrue();
  }

  @Test
  void aLimitWithoutRoomForAHelloIsRefusedAtOnce() {
    assertThatThrownBy(() -> new PrefaceSniffer(100)).isInstanceOf(IllegalArgumentException.class);
  }
}
