package io.tailwater.agent.control.capture;

import java.util.List;
import java.util.function.Consumer;

/// The pods that the configuration lists. They never change while the agent runs.
public final class ListedPods implements PodSource {
  private final List<PodSpec> pods;

  public ListedPods(List<PodSpec> pods) {
    this.pods = List.copyOf(pods);
  }

  @Override
  public void start(Consumer<PodEvent> events) {
    pods.forEach(pod -> events.accept(new PodEvent.Wanted(pod)));
  }

  @Override
  public void close() {
    // nothing is held
  }
}
