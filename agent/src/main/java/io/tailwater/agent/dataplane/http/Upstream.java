package io.tailwater.agent.dataplane.http;

import io.netty.channel.Channel;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.RequestPolicy;
import io.tailwater.agent.traffic.Refusal;
import java.util.function.Consumer;

/// Where one request goes. On the loop of the client's connection.
public interface Upstream {
  /// Requests of one client connection whose keys are equal may share connections; those of
  /// different clients never do. Has `equals` and `hashCode`.
  Object key();

  /// Whether the destination speaks HTTP/2 (ports HTTP2, GRPC); HTTP/1.1 otherwise.
  boolean http2();

  /// What policy says of the request; for the record.
  Decision decision();

  /// What is done to the request on its way.
  RequestPolicy request();

  /// How connections there are used.
  ConnectionPolicy connection();

  /// Makes a new connection. Is told exactly once, on the loop, perhaps before this returns; who
  /// asks may have lost interest by then and closes the channel.
  void connect(Consumer<Connected> then);

  /// What connecting came to.
  sealed interface Connected {
    /// A connection on the same loop, with TLS already where it is wanted, and no handler that
    /// reads plaintext. It belongs to this room from now on.
    record Open(Channel channel, RequestCounter counter) implements Connected {}

    /// There is none; `detail` is for people and may be empty.
    record Failed(Refusal why, String detail) implements Connected {}
  }

  /// Counts the requests of one connection, for the endpoint that it leads to. On the loop.
  interface RequestCounter {
    /// A request goes out on it.
    void started();

    /// That request is over: exactly once for each `started`.
    void ended(RequestEnd end);
  }

  /// How a request ended, as the endpoint's counters tell it.
  enum RequestEnd {
    /// A response below 500.
    SUCCESS,
    /// A response of 500 or above.
    SERVER_ERROR,
    /// No response, or not the whole of it.
    RESET,
    /// Not in the time that policy gives.
    TIMEOUT,
    /// The client went away before there was a response.
    CANCELLED
  }
}
