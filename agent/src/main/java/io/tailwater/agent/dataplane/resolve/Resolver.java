package io.tailwater.agent.dataplane.resolve;

import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.PodRef;
import java.util.concurrent.Executor;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// Looks names up on behalf of pods. Any thread may ask.
public interface Resolver {
  /// The cached answer (a negative one too), or null when it must be waited for. Lock-free; counts
  /// as use.
  @Nullable Addresses ifPresent(PodRef tenant, HostName name);

  /// How long the cached addresses of a name are still good, in seconds, rounded up; 0 where there
  /// are none. Lock-free.
  default long secondsLeft(HostName name) {
    return 0;
  }

  /// Looks up; the answer is handed to `answer` exactly once, as a task on `loop`, at the latest
  /// after `queryTimeout`. Concurrent look-ups of one name share one query.
  void resolve(PodRef tenant, HostName name, Executor loop, Consumer<Addresses> answer);
}
