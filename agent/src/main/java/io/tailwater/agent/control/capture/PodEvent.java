package io.tailwater.agent.control.capture;

import io.tailwater.agent.traffic.PodRef;

/// What a source says of pods.
public sealed interface PodEvent {
  /// The pod is to be captured; said again when something of it changes.
  record Wanted(PodSpec pod) implements PodEvent {}

  /// It is not to be captured any more.
  record Unwanted(PodRef pod) implements PodEvent {}
}
