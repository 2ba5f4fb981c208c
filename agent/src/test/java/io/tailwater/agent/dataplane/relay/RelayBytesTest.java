package io.tailwater.agent.dataplane.relay;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.relay.Bytes.Digest;
import io.tailwater.agent.dataplane.relay.Bytes.Pace;
import io.tailwater.agent.dataplane.relay.RelayRig.Way;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/// What goes in comes out: nothing lost, added or reordered, and everything counted.
@Timeout(120)
class RelayBytesTest {
  static Stream<Arguments> paces() {
    return Stream.of(Way.values())
        .flatMap(way ->
            Stream.of(
                Arguments.of(way, Pace.BRISK, Pace.BRISK, 16 << 20, 1),
                Arguments.of(way, Pace.BRISK, Pace.SLOW, 3 << 20, 2),
                Arguments.of(way, Pace.SMALL, Pace.BRISK, 300 << 10, 3),
                Arguments.of(way, Pace.SMALL, Pace.SLOW, 200 << 10, 4)));
  }

  @ParameterizedTest
  @MethodSource("paces")
  void bothDirectionsArriveUnchangedWhateverTheChunks(
      Way way, Pace writing, Pace reading, int length, long seed) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect().start();
      var up = Bytes.writeAndFin(pair.client, seed, length, writing);
      var down = Bytes.writeAndFin(pair.server, seed + 100, length + 1, writing);
      var atServer = Bytes.read(pair.server, seed + 200, reading);
      var atClient = Bytes.read(pair.client, seed + 300, reading);

      assertThat(get(atServer)).isEqualTo(get(up));
      assertThat(get(atClient)).isEqualTo(get(down));
      assertThat(pair.end()).isEqualTo(new RelayEnd.Finished());
      assertThat(pair.sent()).isEqualTo(length);
      assertThat(pair.received()).isEqualTo(length + 1);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void bytesReadAheadComeFirstAndUnchanged(Way way) throws Exception {
    byte[] ahead = Bytes.random(5, 300_000);
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect(32 << 10);
      byte[] later = Bytes.random(6, 1000);
      pair.client.write(ByteBuffer.wrap(later));
      pair.start(ahead, false);
      pair.client.shutdownOutput();
      Digest got = get(Bytes.read(pair.server, 7, Pace.SLOW));

      assertThat(got).isEqualTo(Bytes.of(ahead, later));
      assertThat(pair.sent()).isEqualTo(ahead.length + later.length);
      pair.server.close();
      pair.end();
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void whatTheServerSaidBeforeTheRelayBeganIsNotLost(Way way) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect();
      // The loop is kept busy, so that greeting and FIN are there when the relay takes over.
      rig.onLoop(() -> {
        try {
          pair.server.write(ByteBuffer.wrap("220 ready\r\n".getBytes(US_ASCII)));
          pair.server.shutdownOutput();
          pair.client.write(ByteBuffer.wrap("QUIT\r\n".getBytes(US_ASCII)));
          pair.client.shutdownOutput();
        } catch (java.io.IOException e) {
          throw new java.io.UncheckedIOException(e);
        }
        pair.start("EHLO ".getBytes(US_ASCII), false);
      });

      assertThat(get(Bytes.read(pair.client, 1, Pace.BRISK)))
          .isEqualTo(Bytes.of("220 ready\r\n".getBytes(US_ASCII)));
      assertThat(get(Bytes.read(pair.server, 1, Pace.BRISK)))
          .isEqualTo(Bytes.of("EHLO QUIT\r\n".getBytes(US_ASCII)));
      assertThat(pair.end()).isEqualTo(new RelayEnd.Finished());
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void theFirstClientBytesAreShownOnceAndNotHeld(Way way) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect().start(new byte[0], true);
      pair.client.write(ByteBuffer.wrap("first".getBytes(US_ASCII)));
      assertThat(Bytes.readExactly(pair.server, 5)).asString(US_ASCII).isEqualTo("first");
      pair.client.write(ByteBuffer.wrap("second".getBytes(US_ASCII)));
      assertThat(Bytes.readExactly(pair.server, 6)).asString(US_ASCII).isEqualTo("second");

      assertThat(pair.shown).hasSize(1);
      assertThat(pair.shown.getFirst()).asString(US_ASCII).isEqualTo("first");
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void nothingIsShownWhereNobodyAsked(Way way) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect().start("ahead".getBytes(US_ASCII), false);
      pair.client.write(ByteBuffer.wrap("first".getBytes(US_ASCII)));
      assertThat(Bytes.readExactly(pair.server, 10)).asString(US_ASCII).isEqualTo("aheadfirst");
      assertThat(pair.shown).isEmpty();
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void twoHundredRelaysShareOneLoop(Way way) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      List<RelayRig.Pair> pairs = new ArrayList<>();
      List<List<CompletableFuture<Digest>>> streams = new ArrayList<>();
      for (int i = 0; i < 200; i++) {
        RelayRig.Pair pair = rig.connect().start();
        pairs.add(pair);
        streams.add(
            List.of(
                Bytes.writeAndFin(pair.client, i, 40_000 + i, Pace.BRISK),
                Bytes.read(pair.server, i, Pace.SLOW),
                Bytes.writeAndFin(pair.server, 1000 + i, 50_000 + i, Pace.BRISK),
                Bytes.read(pair.client, i, Pace.SLOW)));
      }
      for (int i = 0; i < 200; i++) {
        assertThat(get(streams.get(i).get(1))).isEqualTo(get(streams.get(i).get(0)));
        assertThat(get(streams.get(i).get(3))).isEqualTo(get(streams.get(i).get(2)));
        assertThat(pairs.get(i).end()).isEqualTo(new RelayEnd.Finished());
        assertThat(pairs.get(i).sent()).isEqualTo(40_000 + i);
        assertThat(pairs.get(i).received()).isEqualTo(50_000 + i);
      }
    }
  }

  private static Digest get(CompletableFuture<Digest> digest) throws Exception {
    return digest.get(RelayRig.PATIENCE.toSeconds(), TimeUnit.SECONDS);
  }
}
