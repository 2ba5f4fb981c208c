package io.tailwater.agent.dataplane.relay;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.agent.dataplane.relay.RelayRig.Way;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// How a relay ends other than by two FINs. It is told once, and both peers see a reset.
@Timeout(120)
class RelayEndsTest {
  @ParameterizedTest
  @EnumSource(Way.class)
  void aResetOfTheClientReachesTheServerAsReset(Way way) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect().start();
      exchange(pair);
      Bytes.reset(pair.client);
      Bytes.assertReset(pair.server);
      assertThat(pair.end()).isEqualTo(new RelayEnd.Reset(true));
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aResetOfTheServerReachesTheClientAsReset(Way way) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect().start();
      exchange(pair);
      Bytes.reset(pair.server);
      Bytes.assertReset(pair.client);
      assertThat(pair.end()).isEqualTo(new RelayEnd.Reset(false));
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aResetOfTheServerAfterTheClientsFinReachesTheClient(Way way) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect().start();
      pair.client.shutdownOutput();
      assertThat(pair.server.read(ByteBuffer.allocate(1))).isEqualTo(-1);
      Bytes.reset(pair.server);
      Bytes.assertReset(pair.client);
      assertThat(pair.end()).isEqualTo(new RelayEnd.Reset(false));
    }
  }

  @Test
  void aResetAfterTheFinOfTheSameSideIsSeenBySplice() throws Exception {
    try (RelayRig rig = new RelayRig(Way.SPLICE_EPOLL)) {
      RelayRig.Pair pair = rig.connect().start();
      pair.client.shutdownOutput();
      assertThat(pair.server.read(ByteBuffer.allocate(1))).isEqualTo(-1);
      Bytes.reset(pair.client);
      assertThat(pair.end()).isEqualTo(new RelayEnd.Reset(true));
      // A socket that has read FIN shows the reset when it writes.
      assertThatThrownBy(() -> pair.server.write(ByteBuffer.allocate(1)))
          .isInstanceOf(IOException.class);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aClientThatIsGoneBeforeTheRelayBeginsEndsIt(Way way) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect();
      // Held on the loop, so that the reset is there when the relay begins.
      rig.onLoop(() -> {
        Bytes.reset(pair.client);
        pair.start(new byte[] {1}, false);
      });
      assertThat(pair.end()).isEqualTo(new RelayEnd.Reset(true));
      Bytes.assertReset(pair.server);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aServerThatIsGoneBeforeTheRelayBeginsEndsIt(Way way) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect();
      rig.onLoop(() -> {
        Bytes.reset(pair.server);
        pair.start(new byte[] {1}, false);
      });
      assertThat(pair.end()).isEqualTo(new RelayEnd.Reset(false));
      Bytes.assertReset(pair.client);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void aConnectionOnWhichNothingMovesIsEndedAfterTheIdleTimeout(Way way) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      long begun = System.nanoTime();
      RelayRig.Pair pair = rig.connect().start();
      exchange(pair);
      rig.onLoop(() -> pair.relay.tick(begun + RelayRig.IDLE_NANOS)); // bytes moved since `begun`
      assertThat(pair.ended).isNotDone();
      exchange(pair);
      rig.onLoop(() -> pair.relay.tick(System.nanoTime() + RelayRig.IDLE_NANOS));

      assertThat(pair.end()).isEqualTo(new RelayEnd.Idle());
      Bytes.assertReset(pair.client);
      Bytes.assertReset(pair.server);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void stoppingResetsBothSidesAndIsToldOnce(Way way) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect().start();
      exchange(pair);
      rig.onLoop(() -> {
        pair.relay.stop();
        pair.relay.stop();
        pair.relay.tick(System.nanoTime() + TimeUnit.DAYS.toNanos(1));
      });
      assertThat(pair.end()).isEqualTo(new RelayEnd.Stopped());
      Bytes.assertReset(pair.client);
      Bytes.assertReset(pair.server);
      assertThat(pair.sent()).isEqualTo(1000);
      assertThat(pair.received()).isEqualTo(2000);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void stoppingRightAfterTheStartLeavesNothingBehind(Way way) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect();
      rig.onLoop(() -> {
        pair.start(Bytes.random(1, 5000), false);
        pair.relay.stop();
      });
      assertThat(pair.end()).isEqualTo(new RelayEnd.Stopped());
      Bytes.assertReset(pair.client);
      Bytes.assertReset(pair.server);
    }
  }

  private static void exchange(RelayRig.Pair pair) throws Exception {
    pair.client.write(ByteBuffer.wrap(Bytes.random(1, 1000)));
    assertThat(Bytes.readExactly(pair.server, 1000)).isEqualTo(Bytes.random(1, 1000));
    pair.server.write(ByteBuffer.wrap(Bytes.random(2, 2000)));
    assertThat(Bytes.readExactly(pair.client, 2000)).isEqualTo(Bytes.random(2, 2000));
  }
}
