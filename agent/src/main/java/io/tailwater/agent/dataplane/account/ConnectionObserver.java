package io.tailwater.agent.dataplane.account;

/// Is told of connections, on their loop, in this order: `accepted`, then `opened` unless it was
/// refused before a decision let it go on, any number of `progress`, and exactly once `ended`. Must
/// not block and must not throw.
public interface ConnectionObserver {
  /// A captured connection was accepted.
  void accepted(ConnectionRecord connection);

  /// The decision lets it go on and it is about to be dialled.
  void opened(ConnectionRecord connection);

  /// Bytes moved since the last call, while it lives.
  void progress(ConnectionRecord connection, long sent, long received);

  /// A request of a connection that is routed request by request is over. The record is the
  /// request's own. Between `opened` and `ended` of its connection.
  void request(ConnectionRecord request, Outcome outcome);

  /// It is over. All bytes were told by `progress` before.
  void ended(ConnectionRecord connection, Outcome outcome);
}
