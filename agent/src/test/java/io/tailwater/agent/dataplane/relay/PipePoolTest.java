package io.tailwater.agent.dataplane.relay;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.iptables.libc.Syscalls;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class PipePoolTest {
  private final PipePool pool = new PipePool();
  private final List<PipePool.Pipe> taken = new ArrayList<>();

  @AfterEach
  void close() {
    taken.forEach(pool::discard);
    pool.close();
  }

  private PipePool.Pipe take(boolean stream) {
    PipePool.Pipe pipe = pool.take(stream);
    assertThat(pipe).isNotNull();
    taken.add(pipe);
    return pipe;
  }

  @Test
  void aStreamGetsAPipeThatHoldsAMebibyte() {
    assertThat(Syscalls.pipeSize(take(true).readEnd())).isEqualTo(1 << 20);
    assertThat(Syscalls.pipeSize(take(false).readEnd())).isEqualTo(64 << 10);
  }

  @Test
  void onlySoManyStreamsHaveLargePipesAndTheOthersGoOnWithSmallOnes() {
    for (int i = 0; i < PipePool.MOST_LARGE; i++) {
      assertThat(take(true).large()).isTrue();
    }

    assertThat(take(true).large()).isFalse();

    pool.discard(taken.removeFirst());
    assertThat(take(true).large()).isTrue();
  }

  @Test
  void aPipeThatWasGivenBackIsTakenAgainByItsKind() {
    PipePool.Pipe large = take(true);
    PipePool.Pipe small = take(false);
    taken.clear();
    pool.giveBack(large);
    pool.giveBack(small);

    assertThat(take(false)).isEqualTo(small);
    assertThat(take(true)).isEqualTo(large);
  }
}
