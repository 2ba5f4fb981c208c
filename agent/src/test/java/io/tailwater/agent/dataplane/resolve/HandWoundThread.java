package io.tailwater.agent.dataplane.resolve;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Comparator;
import java.util.PriorityQueue;
import java.util.Queue;
import java.util.concurrent.RejectedExecutionException;

/// A resolver thread that runs nothing by itself: the test runs what is due, and moves the time.
final class HandWoundThread implements ResolverThread {
  private record Due(long at, long order, Runnable task) {}

  private final Queue<Runnable> tasks = new ArrayDeque<>();
  private final PriorityQueue<Due> timers =
      new PriorityQueue<>(Comparator.comparingLong(Due::at).thenComparingLong(Due::order));

  /// Close to the end of a long: `nanoTime` may start anywhere and wraps.
  private long now = Long.MAX_VALUE - Duration.ofMinutes(1).toNanos();

  private final long start = now;
  private long order;
  private boolean closed;

  @Override
  public long nanoTime() {
    return now;
  }

  @Override
  public void execute(Runnable task) {
    if (closed) {
      throw new RejectedExecutionException("closed");
    }
    tasks.add(task);
  }

  @Override
  public Timer schedule(long delayNanos, Runnable task) {
    // Counted from the start, so that the queue is not disturbed by the wrap.
    var due = new Due(now - start + Math.max(0, delayNanos), order++, task);
    timers.add(due);
    return () -> timers.remove(due);
  }

  /// Runs what waits now, and what that leads to.
  void run() {
    for (Runnable task = tasks.poll(); task != null; task = tasks.poll()) {
      task.run();
    }
  }

  /// Lets time pass, stopping at each timer.
  void advance(Duration by) {
    run();
    long end = now - start + by.toNanos();
    for (Due due = timers.peek(); due != null && due.at <= end; due = timers.peek()) {
      timers.poll();
      now = start + Math.max(due.at, now - start);
      due.task.run();
      run();
    }
    now = start + end;
  }

  int timers() {
    return timers.size();
  }

  @Override
  public void close() {
    closed = true;
    run();
    timers.clear();
  }
}
