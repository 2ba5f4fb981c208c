package io.tailwater.agent.dataplane.flow;

import io.tailwater.agent.dataplane.account.ConnectionRecord;

/// A connection of a pod, as its [Worker] looks after it. On its loop.
sealed interface Flow permits ConnectionFlow, InboundFlow {
  ServedPod pod();

  /// Now and then: counts what has moved, ends what is idle.
  void tick(long now);

  /// The agent lets go of it.
  void drain();

  /// A copy for whoever lists connections.
  ConnectionRecord currentRecord();
}
