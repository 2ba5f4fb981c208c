package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Few rows, and nothing that could go wrong between two values is left out.
class PairwiseCoverTest {
  @ParameterizedTest
  @CsvSource({"3 2 2 2, 8", "2 2, 4", "4 3 2, 13", "2 2 2 2 2, 8", "5 1 5, 25", "3, 3"})
  void everyTwoValuesOfDifferentColumnsOccurTogether(String shape, int most) {
    List<List<Integer>> product = product(shape);
    List<List<Integer>> picked = PairwiseCover.of(product, Function.identity());

    assertThat(product).containsAll(picked);
    assertThat(picked).doesNotHaveDuplicates().hasSizeLessThanOrEqualTo(most);
    List<Integer> sizes = sizes(shape);
    for (int i = 0; i < sizes.size(); i++) {
      for (int j = i + 1; j < sizes.size(); j++) {
        for (int a = 0; a < sizes.get(i); a++) {
          for (int b = 0; b < sizes.get(j); b++) {
            int[] pair = {i, a, j, b};
            assertThat(picked)
                .as("value %d of column %d with value %d of column %d", a, i, b, j)
                .anyMatch(row -> row.get(pair[0]) == pair[1] && row.get(pair[2]) == pair[3]);
          }
        }
      }
    }
  }

  @Test
  void whatNeverOccursTogetherIsNotAskedFor() {
    List<List<String>> product =
        List.of(List.of("a", "x"), List.of("a", "y"), List.of("b", "x")); // and not b with y
    assertThat(PairwiseCover.of(product, Function.identity()))
        .containsExactlyInAnyOrderElementsOf(product);
  }

  @Test
  void everyPairOfTheCaptureMatrixIsAmongAFewCombinations() {
    List<CaptureCombination> pairs = CaptureCombination.pairs();
    assertThat(CaptureCombination.product()).hasSize(24).doesNotHaveDuplicates().containsAll(pairs);
    assertThat(pairs).hasSizeBetween(6, 8);
    for (CaptureCombination one : CaptureCombination.product()) {
      List<?> wanted = one.values();
      for (int i = 0; i < wanted.size(); i++) {
        for (int j = i + 1; j < wanted.size(); j++) {
          List<Object> pair = List.of(wanted.get(i), wanted.get(j));
          assertThat(pairs).as("%s", pair).anyMatch(p -> p.values().containsAll(pair));
        }
      }
    }
    assertThat(CaptureCombination.rest())
        .hasSize(24 - pairs.size())
        .doesNotContainAnyElementsOf(pairs);
  }

  private static List<Integer> sizes(String shape) {
    return List.of(shape.split(" ")).stream().map(Integer::valueOf).toList();
  }

  /// All rows, the last column running fastest.
  private static List<List<Integer>> product(String shape) {
    List<List<Integer>> rows = List.of(List.of());
    for (int size : sizes(shape)) {
      List<List<Integer>> longer = new ArrayList<>();
      for (List<Integer> row : rows) {
        for (int value = 0; value < size; value++) {
          List<Integer> more = new ArrayList<>(row);
          more.add(value);
          longer.add(List.copyOf(more));
        }
      }
      rows = longer;
    }
    return rows;
  }
}
