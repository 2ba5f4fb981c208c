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

  /// Whether requests are to go on as HTTP/2; HTTP/1.1 otherwise. What a connection speaks is told
  /// with it.
  boolean http2();

  /// What policy says of the request; for the record.
  Decision decision();

  /// What is done to the request on its way.
  RequestPolicy request();

  /// How connections there are used.
  ConnectionPolicy connection();

  /// Takes one of the places that the destination has for its requests, to be given back by
  /// [#left]; false where policy's limit is reached, which is counted.
  boolean admit(Place place);

  void left(Place place);

  /// What a request may need a place for, besides its own.
  enum Place {
    /// It waits for a connection.
    WAITING,
    /// It is tried again.
    RETRY
  }

  /// Makes a new connection. Is told exactly once, on the loop, perhaps before this returns; who
  /// asks may have lost interest by then and closes the channel.
  void connect(Consumer<Connected> then);

  /// What connecting came to.
  sealed interface Connected {
    /// A connection on the same loop, with TLS already where it is wanted, and no handler that
    /// reads plaintext. It belongs to this room from now on. `http2` tells what it speaks, which is
    /// HTTP/1.1 too where HTTP/2 was wanted and the server did not agree.
    record Open(Channel channel, boolean http2, RequestCounter counter) implements Connected {}

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
    /// A response of 500 or above, but for the next.
    SERVER_ERROR,
    /// A response of 502, 503 or 504: what is behind the destination failed.
    GATEWAY_ERROR,
    /// No response, or not the whole of it.
    RESET,
    /// Not in the time that policy gives.
    TIMEOUT,
    /// The client went away before there was a response.
    CANCELLED;

    /// That of a whole response.
    static RequestEnd of(int status) {
      return switch (status) {
        case 502, 503, 504 -> GATEWAY_ERROR;
        default -> status >= 500 ? SERVER_ERROR : SUCCESS;
      };
    }

    /// That of a whole gRPC response, by its `grpc-status`, as Envoy maps it to HTTP's codes.
    static RequestEnd ofGrpc(String status) {
      return switch (status) {
        case "0", "1", "3", "5", "6", "7", "8", "9", "10", "11", "16" -> SUCCESS;
        case "4", "14" -> GATEWAY_ERROR; // DEADLINE_EXCEEDED is 504, UNAVAILABLE is 503
        default -> SERVER_ERROR;
      };
    }
  }
}
