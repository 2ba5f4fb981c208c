package io.tailwater.agent.dataplane.resolve;

import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// A platform thread, `tailwater-resolve`, started by the constructor: a thread lives in the
/// network namespace of the thread that starts it.
final class PlatformResolverThread implements ResolverThread {
  private static final Logger log = LoggerFactory.getLogger(PlatformResolverThread.class);

  private final ScheduledThreadPoolExecutor executor;

  PlatformResolverThread() {
    executor =
        new ScheduledThreadPoolExecutor(
            1, task -> Thread.ofPlatform().daemon().name("tailwater-resolve").unstarted(task));
    executor.setRemoveOnCancelPolicy(true);
    executor.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
    executor.prestartAllCoreThreads();
  }

  @Override
  public long nanoTime() {
    return System.nanoTime();
  }

  @Override
  public void execute(Runnable task) {
    executor.execute(() -> guarded(task));
  }

  @Override
  public Timer schedule(long delayNanos, Runnable task) {
    try {
      ScheduledFuture<?> future =
          executor.schedule(() -> guarded(task), delayNanos, TimeUnit.NANOSECONDS);
      return () -> future.cancel(false);
    } catch (RejectedExecutionException _) {
      // The end has begun and timers are dropped, this one too.
      return () -> {};
    }
  }

  /// The executor would swallow what a task throws.
  private static void guarded(Runnable task) {
    try {
      task.run();
    } catch (RuntimeException e) {
      log.error("a task of the resolver failed; this is a defect", e);
    }
  }

  @Override
  public void close() {
    executor.shutdown();
    boolean interrupted = false;
    while (true) {
      try {
        if (executor.awaitTermination(5, TimeUnit.SECONDS)) {
          break;
        }
        log.warn("the resolver thread takes long to end");
      } catch (InterruptedException _) {
        interrupted = true;
        executor.shutdownNow();
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
