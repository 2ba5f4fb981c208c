package io.tailwater.agent.dataplane.relay;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.relay.Bytes.Digest;
import io.tailwater.agent.dataplane.relay.Bytes.Pace;
import io.tailwater.agent.dataplane.relay.RelayRig.Way;
import java.nio.channels.SocketChannel;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/// A receiver that does not read holds the sender up, and costs a bounded amount of memory.
@Timeout(120)
class RelayPressureTest {
  private static final int SMALL = 32 << 10;

  static Stream<Arguments> waysAndSides() {
    return Stream.of(Way.values())
        .flatMap(way -> Stream.of(Arguments.of(way, true), Arguments.of(way, false)));
  }

  @ParameterizedTest(name = "{0}, client sends: {1}")
  @MethodSource("waysAndSides")
  void aSenderIsHeldUpWhileNobodyReads(Way way, boolean clientSends) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect(SMALL).start();
      SocketChannel sender = clientSends ? pair.client : pair.server;
      SocketChannel receiver = clientSends ? pair.server : pair.client;
      Digest taken = Bytes.fill(sender, 1);
      long inMemory = rig.buffers.metric().usedDirectMemory();

      assertThat(taken.length()).isLessThan(2 << 20);
      assertThat(inMemory).isLessThan(256 << 10);
      sender.shutdownOutput();
      assertThat(get(Bytes.read(receiver, 2, Pace.BRISK))).isEqualTo(taken);
    }
  }

  @ParameterizedTest(name = "{0}, client sends: {1}")
  @MethodSource("waysAndSides")
  void aSenderThatEndsWhileNobodyReadsCostsNoMoreThanItsSocketHeld(Way way, boolean clientSends)
      throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect(SMALL).start();
      SocketChannel sender = clientSends ? pair.client : pair.server;
      Bytes.fill(sender, 1);
      sender.shutdownOutput();
      rig.settle();

      assertThat(rig.buffers.metric().usedDirectMemory()).isLessThan(1 << 20);
    }
  }

  /// NIO tells nothing of a socket that is not read.
  static Stream<Arguments> nativeWaysAndSides() {
    return waysAndSides().filter(arguments -> arguments.get()[0] != Way.COPY_NIO);
  }

  @ParameterizedTest(name = "{0}, client sends: {1}")
  @MethodSource("nativeWaysAndSides")
  void aResetOfTheSenderIsSeenWhileNobodyReads(Way way, boolean clientSends) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect(SMALL).start();
      SocketChannel sender = clientSends ? pair.client : pair.server;
      SocketChannel receiver = clientSends ? pair.server : pair.client;
      Bytes.fill(sender, 1);
      Bytes.reset(sender);

      assertThat(pair.end()).isEqualTo(new RelayEnd.Reset(clientSends));
      Bytes.assertReset(receiver);
    }
  }

  @ParameterizedTest(name = "{0}, client sends: {1}")
  @MethodSource("waysAndSides")
  void aResetOfTheReceiverIsSeenWhileItDoesNotRead(Way way, boolean clientSends) throws Exception {
    try (RelayRig rig = new RelayRig(way)) {
      RelayRig.Pair pair = rig.connect(SMALL).start();
      SocketChannel sender = clientSends ? pair.client : pair.server;
      SocketChannel receiver = clientSends ? pair.server : pair.client;
      Bytes.fill(sender, 1);
      Bytes.reset(receiver);

      assertThat(pair.end()).isEqualTo(new RelayEnd.Reset(!clientSends));
      if (way == Way.COPY_IO_URING) {
        // A send that was under way may take the error, and the read beside it sees a FIN.
        Bytes.assertEnded(sender);
      } else {
        Bytes.assertReset(sender);
      }
    }
  }

  /// Slow readers of one pod hold every large pipe of the loop: the others' transfers go on with
  /// small ones.
  @Test
  void aStreamArrivesWholeWhileOthersHoldAllLargePipes() throws Exception {
    int length = 8 << 20;
    List<PipePool.Pipe> held = new ArrayList<>();
    try (RelayRig rig = new RelayRig(Way.SPLICE_EPOLL)) {
      rig.onLoop(() -> {
        for (int i = 0; i < PipePool.MOST_LARGE; i++) {
          held.add(rig.pipes.take(true));
        }
      });
      assertThat(held).allMatch(PipePool.Pipe::large);
      RelayRig.Pair pair = rig.connect().start();
      var up = Bytes.writeAndFin(pair.client, 1, length, Pace.BRISK);
      var down = Bytes.writeAndFin(pair.server, 2, length, Pace.BRISK);
      var atServer = Bytes.read(pair.server, 3, Pace.BRISK);
      var atClient = Bytes.read(pair.client, 4, Pace.BRISK);

      assertThat(get(atServer)).isEqualTo(get(up));
      assertThat(get(atClient)).isEqualTo(get(down));
      assertThat(pair.end()).isEqualTo(new RelayEnd.Finished());
      rig.onLoop(() -> held.forEach(rig.pipes::discard));
    }
  }

  private static Digest get(CompletableFuture<Digest> digest) throws Exception {
    return digest.get(RelayRig.PATIENCE.toSeconds(), TimeUnit.SECONDS);
  }
}
