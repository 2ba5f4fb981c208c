package io.tailwater.agent.dataplane.account;

import io.tailwater.agent.dataplane.route.Decision;

/// Is told of connections, on their loop, in this order: `accepted`, then `opened` unless it was
/// refused before a decision let it go on, any number of `progress`, and exactly once `ended`. Must
/// not block and must not throw.
public interface ConnectionObserver {
  /// A captured connection was accepted.
  void accepted(ConnectionRecord connection);

  /// The decision lets it go on and it is about to be dialled.
  void opened(ConnectionRecord connection);

  /// The same for a connection that is routed request by request: the first request that goes
  /// anywhere is about to, and the connection counts where that goes. What others of it go
  /// elsewhere is told with them. Bytes may have moved before.
  void opened(ConnectionRecord connection, Decision first);

  /// Bytes moved since the last call, while it lives.
  void progress(ConnectionRecord connection, long sent, long received);

  /// A request of a connection that is routed request by request is over. The record is the
  /// request's own. Before `ended` of its connection.
  void request(ConnectionRecord request, Outcome outcome);

  /// It is over. All bytes were told by `progress` before.
  void ended(ConnectionRecord connection, Outcome outcome);
}
