package io.tailwater.agent.node;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Function;

/// Picks few rows of a product so that every two values of different columns that occur together
/// anywhere occur together in a picked row. Greedy: the row with most that is new comes next, the
/// first of equals. Pure, and the same rows every time.
final class PairwiseCover {
  private PairwiseCover() {}

  /// Two values and the columns that they stand in.
  private record Pair(int column, Object value, int otherColumn, Object otherValue) {}

  /// @param values the columns of a row, as many for each
  static <T> List<T> of(List<T> product, Function<? super T, ? extends List<?>> values) {
    Set<Pair> open = new HashSet<>();
    product.forEach(row -> open.addAll(pairs(values.apply(row))));
    List<T> picked = new ArrayList<>();
    while (!open.isEmpty()) {
      T best = product.getFirst();
      int most = 0;
      for (T row : product) {
        int fresh = (int) pairs(values.apply(row)).stream().filter(open::contains).count();
        if (fresh > most) {
          most = fresh;
          best = row;
        }
      }
      picked.add(best);
      open.removeAll(pairs(values.apply(best)));
    }
    return List.copyOf(picked);
  }

  private static Set<Pair> pairs(List<?> row) {
    Set<Pair> pairs = new LinkedHashSet<>();
    for (int i = 0; i < row.size(); i++) {
      for (int j = i + 1; j < row.size(); j++) {
        pairs.add(new Pair(i, row.get(i), j, row.get(j)));
      }
    }
    return pairs;
  }
}
