package io.tailwater.perf.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class OrderTest {
  @Test
  void everybodyHasOneTurnInEveryRound() {
    List<String> all = List.of("a", "b", "c", "d", "e");

    for (int round = 0; round < 20; round++) {
      assertThat(Bench.order(all, round)).containsExactlyInAnyOrderElementsOf(all);
    }
  }

  @Test
  void everybodyComesFirstAtTimes() {
    List<String> all = List.of("a", "b", "c", "d", "e");

    assertThat(
            IntStream.range(0, 10)
                .mapToObj(round -> Bench.order(all, round).getFirst())
                .collect(Collectors.toSet()))
        .hasSize(5);
  }

  @Test
  void aPlanKeepsBelowTheLimitOfDescriptors() {
    assertThatThrownBy(() -> new Plan(1, 100, 1, 1, 10_000, 1, 100, 100))
        .hasMessageContaining("20,000");
    assertThat(Plan.quick().withRounds(7).rounds()).isEqualTo(7);
  }
}
