package io.tailwater.agent.dataplane.flow;

import io.tailwater.agent.dataplane.account.ConnectionRecord;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/// The connections that live now. Any thread may ask; the copies are made on the loops that own
/// them.
public interface LiveConnections {
  /// How many there are.
  int count();

  /// Copies of all records; completes when every loop has answered.
  CompletableFuture<List<ConnectionRecord>> snapshot();
}
