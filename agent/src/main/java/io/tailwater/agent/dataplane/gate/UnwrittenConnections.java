package io.tailwater.agent.dataplane.gate;

import java.util.Arrays;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// Released connections that do not stand in the file yet, in no order. Who ends leaves at once, by
/// the place that it knows itself: in a burst there are tens of thousands, and a set of them would
/// cost four times as much. One thread.
final class UnwrittenConnections {
  private static final int SMALLEST = 16;

  private @Nullable ReleasedConnection[] all = new ReleasedConnection[SMALLEST];
  private int size;

  /// It must not be here yet.
  void add(ReleasedConnection one) {
    if (size == all.length) {
      all = Arrays.copyOf(all, 2 * size);
    }
    one.unwrittenAt = size;
    all[size++] = one;
  }

  /// Whether it was here.
  boolean remove(ReleasedConnection one) {
    int at = one.unwrittenAt;
    if (at < 0) {
      return false;
    }
    ReleasedConnection last = all[--size];
    all[at] = last;
    all[size] = null;
    if (last != null) {
      last.unwrittenAt = at;
    }
    one.unwrittenAt = -1;
    return true;
  }

  /// Gives all away. What they took does not stay: after a burst it would be as large.
  void takeAll(Consumer<ReleasedConnection> to) {
    @Nullable ReleasedConnection[] taken = all;
    int count = size;
    all = new ReleasedConnection[SMALLEST];
    size = 0;
    for (int i = 0; i < count; i++) {
      ReleasedConnection one = taken[i];
      if (one != null) {
        one.unwrittenAt = -1;
        to.accept(one);
      }
    }
  }
}
