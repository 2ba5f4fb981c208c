package io.tailwater.agent.dataplane.relay;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.relay.Bytes.Pace;
import io.tailwater.agent.dataplane.relay.RelayRig.Way;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// What relays hold while they live, and that they give it back. Buffers are checked by the rig.
@Timeout(300)
class RelayCostTest {
  @Test
  void quietConnectionsHoldNoPipes() throws Exception {
    try (RelayRig rig = new RelayRig(Way.SPLICE_EPOLL)) {
      long before = RelayRig.pipesOpen();
      for (int i = 0; i < 100; i++) {
        RelayRig.Pair pair = rig.connect().start();
        pair.client.write(ByteBuffer.wrap(Bytes.random(i, 50_000)));
        assertThat(Bytes.readExactly(pair.server, 50_000)).isEqualTo(Bytes.random(i, 50_000));
        pair.server.write(ByteBuffer.wrap(Bytes.random(i, 60_000)));
        assertThat(Bytes.readExactly(pair.client, 60_000)).isEqualTo(Bytes.random(i, 60_000));
      }
      // One or two are kept for the next burst of any connection.
      assertThat(RelayRig.pipesOpen() - before).isBetween(1L, 8L);
    }
  }

  @Test
  void aBlockedStreamHoldsOneLargePipeWhichIsClosedWithItsBytes() throws Exception {
    try (RelayRig rig = new RelayRig(Way.SPLICE_EPOLL)) {
      long before = RelayRig.pipesOpen();
      RelayRig.Pair pair = rig.connect(32 << 10).start();
      Bytes.fill(pair.client, 1);
      // its large one, and the small one with which it began, which is there for others
      assertThat(RelayRig.pipesOpen() - before).isEqualTo(4);
      rig.onLoop(pair.relay::stop);
      pair.end();
      assertThat(RelayRig.pipesOpen() - before).isEqualTo(2);
    }
  }

  @ParameterizedTest
  @EnumSource(Way.class)
  void twoHundredConnectionsLeaveNothingBehind(Way way) throws Exception {
    comeAndGo(way, 200);
  }

  @Tag("long")
  @ParameterizedTest
  @EnumSource(Way.class)
  void twoThousandConnectionsLeaveNothingBehind(Way way) throws Exception {
    comeAndGo(way, 2000);
  }

  /// Connections that end in every way there is.
  private static void comeAndGo(Way way, int connections) throws Exception {
    int pipesKept;
    try (RelayRig rig = new RelayRig(way)) {
      batch(rig, 0);
      int threads = ManagementFactory.getThreadMXBean().getThreadCount();
      long descriptors = sockets();
      for (int done = 0; done < connections; done += 20) {
        batch(rig, done);
      }
      RelayRig.await("descriptors closed", () -> sockets() <= descriptors);
      pipesKept = (int) RelayRig.pipesOpen();
      assertThat(pipesKept).isLessThan(2 * 64 + 16);
      assertThat(ManagementFactory.getThreadMXBean().getThreadCount())
          .isLessThanOrEqualTo(threads + 4); // carriers of virtual threads may have come
      assertThat(rig.buffers.metric().usedDirectMemory()).isZero();
    }
  }

  private static long sockets() {
    try {
      return RelayRig.descriptors().stream().filter(d -> d.startsWith("socket:")).count();
    } catch (java.io.IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private static void batch(RelayRig rig, int seed) throws Exception {
    List<RelayRig.Pair> pairs = new ArrayList<>();
    for (int i = 0; i < 20; i++) {
      RelayRig.Pair pair = rig.connect().start(Bytes.random(i, i * 10), i % 2 == 0);
      pairs.add(pair);
      switch (i % 5) {
        case 0 -> {
          pair.client.write(ByteBuffer.wrap(Bytes.random(seed, 2000)));
          Bytes.reset(pair.client);
        }
        case 1 -> {
          pair.server.write(ByteBuffer.wrap(Bytes.random(seed, 2000)));
          Bytes.reset(pair.server);
        }
        case 2 -> rig.onLoop(pair.relay::stop);
        default -> {
          var up = Bytes.writeAndFin(pair.client, seed, 3000, Pace.BRISK);
          var down = Bytes.writeAndFin(pair.server, seed, 3000, Pace.BRISK);
          Bytes.read(pair.client, seed, Pace.BRISK).get(30, TimeUnit.SECONDS);
          Bytes.read(pair.server, seed, Pace.BRISK).get(30, TimeUnit.SECONDS);
          up.get(30, TimeUnit.SECONDS);
          down.get(30, TimeUnit.SECONDS);
        }
      }
    }
    for (RelayRig.Pair pair : pairs) {
      pair.end();
      pair.close();
      rig.forget(pair);
    }
  }
}
