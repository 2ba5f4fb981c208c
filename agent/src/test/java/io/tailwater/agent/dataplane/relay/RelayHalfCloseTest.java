package io.tailwater.agent.dataplane.relay;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.relay.Bytes.Digest;
import io.tailwater.agent.dataplane.relay.Bytes.Pace;
import io.tailwater.agent.dataplane.relay.RelayRig.Way;
import java.nio.channels.SocketChannel;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/// A FIN ends one direction, after all bytes before it, and the other goes on.
@Timeout(120)
class RelayHalfCloseTest {
  private static final int SMALL = 32 << 10;

  /// What a loop may wake up for in a fifth of a second when there is nothing to do; a loop that
  /// spins wakes up many thousand times.
  private static final int FEW = 50;

  static Stream<Arguments> waysAndSides() {
    return Stream.of(Way.values())
        .flatMap(way -> Stream.of(Arguments.of(way, true), Arguments.of(way, false)));
  }

  @ParameterizedTest(name = "{0}, client first: {1}")
  @MethodSource("waysAndSides")
  void afterTheFinOfOneSideTheOtherStillSends(Way way, boolean clientFirst) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect().start();
      SocketChannel first = clientFirst ? pair.client : pair.server;
      SocketChannel second = clientFirst ? pair.server : pair.client;

      var request = Bytes.writeAndFin(first, 1, 100_000, Pace.BRISK);
      assertThat(get(Bytes.read(second, 2, Pace.BRISK))).isEqualTo(get(request));
      assertThat(pair.ended).isNotDone();
      var answer = Bytes.writeAndFin(second, 3, 3 << 20, Pace.BRISK);
      assertThat(get(Bytes.read(first, 4, Pace.SLOW))).isEqualTo(get(answer));

      assertThat(pair.end()).isEqualTo(new RelayEnd.Finished());
    }
  }

  @ParameterizedTest(name = "{0}, client sends: {1}")
  @MethodSource("waysAndSides")
  void aFinBehindBytesThatNobodyTakesWaitsForThem(Way way, boolean clientSends) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect(SMALL).start();
      SocketChannel sender = clientSends ? pair.client : pair.server;
      SocketChannel receiver = clientSends ? pair.server : pair.client;
      Digest sent = Bytes.fill(sender, 5);
      sender.shutdownOutput();

      // The other direction is not held up by it.
      var back = Bytes.writeAndFin(receiver, 6, 200_000, Pace.BRISK);
      assertThat(get(Bytes.read(sender, 7, Pace.BRISK))).isEqualTo(get(back));
      assertThat(pair.ended).isNotDone();

      assertThat(get(Bytes.read(receiver, 8, Pace.SLOW))).isEqualTo(sent);
      assertThat(pair.end()).isEqualTo(new RelayEnd.Finished());
    }
  }

  @ParameterizedTest(name = "{0}, client sends: {1}")
  @MethodSource("waysAndSides")
  void bothFinsBehindBytesThatNobodyTakesDoNotKeepTheLoopBusy(Way way, boolean clientSends)
      throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect(SMALL).start();
      SocketChannel sender = clientSends ? pair.client : pair.server;
      SocketChannel receiver = clientSends ? pair.server : pair.client;
      receiver.shutdownOutput();
      assertThat(get(Bytes.read(sender, 1, Pace.BRISK)).length()).isZero();
      Digest sent = Bytes.fill(sender, 9);
      sender.shutdownOutput(); // now both directions of the agent's socket to the sender are shut

      assertQuiet(rig);
      assertThat(pair.ended).isNotDone();
      assertThat(get(Bytes.read(receiver, 10, Pace.SLOW))).isEqualTo(sent);
      assertThat(pair.end()).isEqualTo(new RelayEnd.Finished());
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aHalfClosedConnectionThatRestsDoesNotKeepTheLoopBusy(Way way) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect().start();
      pair.client.shutdownOutput();
      assertThat(get(Bytes.read(pair.server, 1, Pace.BRISK)).length()).isZero();

      assertQuiet(rig);
      pair.server.shutdownOutput();
      assertThat(pair.end()).isEqualTo(new RelayEnd.Finished());
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aFinDirectlyAfterTheReadAheadIsPassedOnBehindIt(Way way) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect(SMALL);
      byte[] ahead = Bytes.random(11, 500_000);
      // Held on the loop, so that the FIN is there when the relay begins.
      rig.onLoop(() -> {
        Bytes.fin(pair.client);
        pair.start(ahead, false);
      });
      var answer = Bytes.writeAndFin(pair.server, 12, 10_000, Pace.BRISK);

      assertThat(get(Bytes.read(pair.client, 13, Pace.BRISK))).isEqualTo(get(answer));
      assertThat(get(Bytes.read(pair.server, 14, Pace.SLOW))).isEqualTo(Bytes.of(ahead));
      assertThat(pair.end()).isEqualTo(new RelayEnd.Finished());
      assertThat(pair.sent()).isEqualTo(ahead.length);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aFinThatWasReadBeforeTheRelayBeganIsPassedOn(Way way) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect();
      pair.readFinOfClient();
      byte[] ahead = Bytes.random(15, 1000);
      pair.start(ahead, false);

      assertThat(get(Bytes.read(pair.server, 16, Pace.BRISK))).isEqualTo(Bytes.of(ahead));
      var answer = Bytes.writeAndFin(pair.server, 17, 10_000, Pace.BRISK);
      assertThat(get(Bytes.read(pair.client, 18, Pace.BRISK))).isEqualTo(get(answer));
      assertThat(pair.end()).isEqualTo(new RelayEnd.Finished());
    }
  }

  private static void assertQuiet(RelayRig rig) {
    rig.settle();
    long before = rig.turns();
    LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(200));
    assertThat(rig.turns() - before).isLessThan(FEW);
  }

  private static Digest get(CompletableFuture<Digest> digest) throws Exception {
    return digest.get(RelayRig.PATIENCE.toSeconds(), TimeUnit.SECONDS);
  }
}
