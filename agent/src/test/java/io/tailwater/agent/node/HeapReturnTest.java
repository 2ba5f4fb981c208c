package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class HeapReturnTest {
  private static final long MIB = 1 << 20;

  private long committed = 18 * MIB;
  private long used = 11 * MIB;
  private int collections;

  private final HeapReturn heap =
      new HeapReturn(
          () -> committed,
          () -> {
            collections++;
            committed = used * 5 / 3;
          });

  private void looks(int times) {
    for (int i = 0; i < times; i++) {
      heap.look();
    }
  }

  @Test
  void anAgentAtRestIsNeverInterrupted() {
    looks(1000);

    assertThat(collections).isZero();
  }

  @Test
  void whatABurstHasLeftGoesBackAtTheNextLook() {
    committed = 87 * MIB;

    looks(1);

    assertThat(collections).isOne();
    assertThat(committed).isLessThan(20 * MIB);
    looks(1000);
    assertThat(collections).isOne();
  }

  @Test
  void aHeapThatIsLargeBecauseItIsUsedIsLookedThroughRarely() {
    used = 50 * MIB;
    committed = 85 * MIB;

    looks(1);
    assertThat(collections).isOne();
    looks(HeapReturn.QUIET_LOOKS - 1);
    assertThat(collections).isOne();
    looks(1);
    assertThat(collections).isEqualTo(2);
  }

  @Test
  void itIsCollectedAgainWhenItHasGrownByHalf() {
    used = 30 * MIB;
    committed = 60 * MIB;
    looks(1);

    committed = 70 * MIB;
    looks(1);
    assertThat(collections).isOne();
    committed = 76 * MIB;
    looks(1);
    assertThat(collections).isEqualTo(2);
  }
}
