package io.tailwater.agent.dataplane.resolve;

import java.util.concurrent.Executor;

/// The one thread that misses, refreshes and limits belong to, with its clock. A seam: tests put a
/// thread here that runs nothing by itself and whose time is set by hand.
interface ResolverThread extends Executor, AutoCloseable {
  /// Monotonic nanoseconds. Any thread.
  long nanoTime();

  /// Runs the task on the thread, in order. Any thread.
  ///
  /// @throws java.util.concurrent.RejectedExecutionException after `close`
  @Override
  void execute(Runnable task);

  /// Runs the task on the thread after the delay in nanoseconds; after `close` never.
  Timer schedule(long delayNanos, Runnable task);

  /// Lets tasks that wait in the queue run, drops timers, and returns when the thread has ended.
  @Override
  void close();

  /// A task in the future.
  @FunctionalInterface
  interface Timer {
    void cancel();
  }
}
