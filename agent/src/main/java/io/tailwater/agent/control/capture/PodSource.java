package io.tailwater.agent.control.capture;

import java.util.function.Consumer;

/// Tells which pods are to be captured.
public interface PodSource extends AutoCloseable {
  /// Begins to tell. Events may come on any thread, in order for each pod; all pods that are known
  /// now come before this returns.
  void start(Consumer<PodEvent> events);

  @Override
  void close();
}
