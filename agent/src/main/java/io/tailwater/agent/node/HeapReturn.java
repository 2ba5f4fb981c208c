package io.tailwater.agent.node;

import java.util.function.LongSupplier;

/// Gives back the heap that a burst has left. The serial collector lets the old generation grow to
/// the limit before it collects it, and never collects it when nothing happens: an agent that was
/// busy for a minute would keep 60 MB of garbage for days. So it is collected when the heap has
/// grown by half since it was last, and now and then while it is large. One thread.
final class HeapReturn {
  /// A heap of that size is left alone: an agent at rest has less.
  static final long SMALL = 28L << 20;

  /// How often a large heap is looked through where it does not grow.
  static final int QUIET_LOOKS = 40;

  private final LongSupplier committed;
  private final Runnable collect;
  private long atLast;
  private int looks;

  /// @param committed bytes that the heap has from the system now
  /// @param collect collects everything, and lets the heap shrink to what is used
  HeapReturn(LongSupplier committed, Runnable collect) {
    this.committed = committed;
    this.collect = collect;
  }

  /// Called about every quarter of a minute.
  void look() {
    long now = committed.getAsLong();
    looks++;
    if (now > SMALL && (now > atLast + atLast / 2 || looks >= QUIET_LOOKS)) {
      collect.run();
      atLast = committed.getAsLong();
      looks = 0;
    }
  }
}
