package io.tailwater.agent.dataplane.resolve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class PlatformResolverThreadTest {
  private static final long FAR = Duration.ofHours(1).toNanos();

  @Test
  void tasksRunInOrderOnOneNamedThread() throws Exception {
    List<String> ran = new CopyOnWriteArrayList<>();
    var last = new CompletableFuture<String>();
    try (var thread = new PlatformResolverThread()) {
      thread.execute(() -> ran.add("a"));
      thread.execute(() -> {
        throw new IllegalStateException("a task that fails does not end the thread");
      });
      thread.execute(() -> ran.add("b"));
      thread.schedule(1, () -> last.complete(Thread.currentThread().getName()));
      assertThat(last.get(30, TimeUnit.SECONDS)).isEqualTo("tailwater-resolve");
    }
    assertThat(ran).containsExactly("a", "b");
  }

  @Test
  void closingRunsWhatIsQueuedDropsTimersAndRefusesTheRest() throws Exception {
    List<String> ran = new CopyOnWriteArrayList<>();
    var busy = new CompletableFuture<Void>();
    var thread = new PlatformResolverThread();
    thread.schedule(FAR, () -> ran.add("timer"));
    thread.execute(busy::join);
    thread.execute(() -> {
      ran.add("queued");
      thread.schedule(1, () -> ran.add("a timer set at the end")).cancel();
    });
    Thread closer = Thread.ofPlatform().start(thread::close);
    busy.complete(null);
    closer.join();

    assertThat(ran).containsExactly("queued");
    assertThatThrownBy(() -> thread.execute(() -> ran.add("late")))
        .isInstanceOf(RejectedExecutionException.class);
    thread.schedule(1, () -> ran.add("late")).cancel();
    thread.close();
    assertThat(ran).containsExactly("queued");
  }
}
