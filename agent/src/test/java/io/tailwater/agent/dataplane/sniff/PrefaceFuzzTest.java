package io.tailwater.agent.dataplane.sniff;

import static org.assertj.core.api.Assertions.assertThat;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// Whatever the bytes: no exception, no byte read that is not there, the same answer however the
/// bytes are cut, and nothing in the answer that a log could stumble over.
class PrefaceFuzzTest {
  private static final Pattern SHOWN = Pattern.compile("invalid:[a-z0-9._-]{0,254}");
  private static final Pattern PRINTABLE = Pattern.compile("[ -~]*");

  private static final byte[][] SEEDS = {
    ClientHelloBytes.named("en.wikipedia.org").record(),
    ClientHelloBytes.named("en.wikipedia.org").ech().grease().record(),
    ClientHelloBytes.named("en.wikipedia.org").records(20),
    ClientHelloBytes.named("en.wikipedia.org").records(3),
    ClientHelloBytes.named("Evil\n:443").extension(16, new byte[3]).records(100),
    ClientHelloBytes.withoutName().record(),
    ClientHelloBytes.withoutExtensions().record(),
    http("GET /wiki/Tide?x=y HTTP/1.1\r\nHost: en.wikipedia.org:80\r\nAccept: */*\r\n\r\n"),
    http("POST http://a.org:8080/x HTTP/1.0\r\nX: y\r\nHost: a.org:8080\r\n\r\nbody"),
    http("CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n"),
    http("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  };

  private static byte[] http(String s) {
    return s.getBytes(StandardCharsets.ISO_8859_1);
  }

  @Test
  void twoHundredThousandMutationsChangeNoInvariant() {
    reachesEveryAnswer(fuzz(20261121, 200_000));
  }

  @Test
  @Tag("long")
  void fiveMillionMutationsChangeNoInvariant() {
    reachesEveryAnswer(fuzz(System.nanoTime(), 5_000_000));
  }

  /// Or the fuzzing tests less than it seems.
  private static void reachesEveryAnswer(Map<Class<?>, Integer> seen) {
    assertThat(seen.keySet())
        .containsExactlyInAnyOrder(
            Preface.Tls.class,
            Preface.TlsWithoutName.class,
            Preface.MalformedTls.class,
            Preface.Http.class,
            Preface.Opaque.class,
            Preface.Silent.class);
  }

  private static Map<Class<?>, Integer> fuzz(long seed, int rounds) {
    Random random = new Random(seed);
    Map<Class<?>, Integer> seen = new HashMap<>();
    for (int i = 0; i < rounds; i++) {
      byte[] bytes = Mutations.mutate(SEEDS[i % SEEDS.length], random);
      Preface whole;
      Preface pieces;
      try {
        whole = whole(bytes);
        pieces = inPieces(bytes, random);
      } catch (RuntimeException e) {
        throw new AssertionError("seed " + seed + ", round " + i, e);
      }
      if (!whole.equals(pieces)) {
        throw new AssertionError(
            "seed " + seed + ", round " + i + ": whole " + whole + ", in pieces " + pieces);
      }
      if (!isShowable(whole)) {
        throw new AssertionError("seed " + seed + ", round " + i + ": " + whole);
      }
      seen.merge(whole.getClass(), 1, Integer::sum);
    }
    return seen;
  }

  /// In a buffer without a byte to spare: a read outside of it throws.
  private static Preface whole(byte[] bytes) {
    ByteBuf buffer = Unpooled.wrappedBuffer(bytes);
    PrefaceSniffer sniffer = new PrefaceSniffer(ClientHello.MAX_BYTES);
    Sniffed sniffed = sniffer.sniff(buffer);
    Preface end = sniffer.atEnd(buffer);
    if (sniffed instanceof Sniffed.As(Preface preface) && !preface.equals(end)) {
      throw new IllegalStateException("first " + preface + ", then " + end);
    }
    if (buffer.readerIndex() != 0 || buffer.writerIndex() != bytes.length) {
      throw new IllegalStateException("an index moved");
    }
    return end;
  }

  private static Preface inPieces(byte[] bytes, Random random) {
    PrefaceSniffer sniffer = new PrefaceSniffer(ClientHello.MAX_BYTES);
    int step = 1 + random.nextInt(Math.max(1, bytes.length));
    ByteBuf all = Unpooled.wrappedBuffer(bytes);
    @Nullable Preface decided = null;
    for (int length = 0; length < bytes.length; length += 1 + random.nextInt(step)) {
      Sniffed sniffed = sniffer.sniff(all.slice(0, length));
      if (sniffed instanceof Sniffed.Not) {
        throw new IllegalStateException("it must not say not");
      }
      if (decided == null && sniffed instanceof Sniffed.As(Preface preface)) {
        decided = preface;
      }
    }
    Preface end = sniffer.atEnd(all);
    if (decided != null && !decided.equals(end)) {
      throw new IllegalStateException("first " + decided + ", then " + end);
    }
    return end;
  }

  private static boolean isShowable(Preface preface) {
    return switch (preface) {
      case Preface.MalformedTls(String why, var shown) ->
          PRINTABLE.matcher(why).matches()
              && shown.map(s -> SHOWN.matcher(s).matches()).orElse(true);
      case Preface.Http http ->
          PRINTABLE.matcher(http.method()).matches() && PRINTABLE.matcher(http.path()).matches();
      case Preface.Tls _, Preface.TlsWithoutName _, Preface.Opaque _, Preface.Silent _ -> true;
    };
  }
}
