package io.tailwater.agent.dataplane.http;

/// Is told of requests and of the connection's end, on its loop. Must not block and must not throw.
public interface HttpObserver {
  /// A request is over.
  void ended(RequestRecord request);

  /// The client's connection is closed and everything that it held is given back; exactly once,
  /// after all of its requests.
  void closed(HttpEnd end);

  /// How a client's connection ended.
  enum HttpEnd {
    /// In order.
    FINISHED,
    /// The client reset it, or went away in the middle of a request.
    CLIENT_RESET,
    /// A response could not be finished, so the client was reset.
    UPSTREAM_RESET,
    /// Nothing moved for the idle time, or a head did not come in time.
    IDLE,
    /// The client sent what is not HTTP as it has to be; it was told and closed.
    BAD_REQUEST,
    /// The agent ended it.
    STOPPED
  }
}
