package io.tailwater.agent.node;

import java.util.Map;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The agent is ready when nobody holds a task any more. Any thread.
public final class Readiness {
  private static final Logger LOG = LoggerFactory.getLogger(Readiness.class);

  private final Map<String, AtomicInteger> held = new ConcurrentHashMap<>();

  /// Something that must be done before the agent is ready. Closing it twice is closing it once.
  public final class Task implements AutoCloseable {
    private final String name;
    private final AtomicBoolean closed = new AtomicBoolean();

    private Task(String name) {
      this.name = name;
    }

    /// It is done.
    @Override
    public void close() {
      if (closed.compareAndSet(false, true)) {
        held.computeIfPresent(name, (_, n) -> n.decrementAndGet() == 0 ? null : n);
        SortedSet<String> left = pending();
        LOG.info(
            "{} done, {}",
            name,
            left.isEmpty() ? "the agent is ready" : "pending: " + String.join(", ", left));
      }
    }
  }

  /// Holds readiness back until the task is closed. The same name may be held more than once.
  public Task hold(String name) {
    held.compute(
        name,
        (_, n) -> {
          AtomicInteger count = n == null ? new AtomicInteger() : n;
          count.incrementAndGet();
          return count;
        });
    return new Task(name);
  }

  /// What is still missing, sorted.
  public SortedSet<String> pending() {
    return new TreeSet<>(held.keySet());
  }

  public boolean ready() {
    return held.isEmpty();
  }
}
