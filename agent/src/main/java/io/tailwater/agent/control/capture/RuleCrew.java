package io.tailwater.agent.control.capture;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;

/// Works on the rules of many pods at once: most of that time is spent waiting for programs. The
/// capture thread waits meanwhile, so that a pod still belongs to one thread at a time. The threads
/// end with the work: usually there is none.
final class RuleCrew {
  /// More would only wait for each other: a program keeps a core busy.
  private static final int MOST = 8;

  private final int size;

  RuleCrew(int cores) {
    this.size = Math.min(MOST, 2 * cores);
  }

  /// Does `work` for each item and returns when all is done. On a platform thread in the agent's
  /// own namespace, whose children are born there too. `work` throws nothing.
  <T> void each(List<T> items, Consumer<T> work) {
    if (items.size() < 3) {
      items.forEach(work);
      return;
    }
    AtomicInteger next = new AtomicInteger();
    Runnable worker =
        () -> {
          for (int i = next.getAndIncrement(); i < items.size(); i = next.getAndIncrement()) {
            work.accept(items.get(i));
          }
        };
    List<Thread> threads = new ArrayList<>();
    for (int i = 1; i < Math.min(size, items.size()); i++) {
      threads.add(Thread.ofPlatform().name("tailwater-rules-" + i).daemon(true).start(worker));
    }
    worker.run();
    boolean interrupted = false;
    for (Thread thread : threads) {
      while (thread.isAlive()) {
        try {
          thread.join();
        } catch (InterruptedException _) {
          interrupted = true; // pods must not be touched by two threads
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
