package io.tailwater.agent.dataplane.upstream;

/// What is learned of an endpoint's health from what goes there (Envoy's outlier results).
public enum Sign {
  /// A connection for HTTP requests was made. It says nothing of what is behind it.
  CONNECTED,
  /// A connection for bytes was made: all that can be known of it.
  CARRIES,
  /// A response below 500.
  ANSWER,
  /// A response of 500 or above, but for the next.
  SERVER_ERROR,
  /// A response of 502, 503 or 504.
  GATEWAY_ERROR,
  /// No connection, a reset, or nothing in time: the failure is of local origin.
  NO_ANSWER
}
