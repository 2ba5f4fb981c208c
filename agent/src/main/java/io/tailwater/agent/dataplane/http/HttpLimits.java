package io.tailwater.agent.dataplane.http;

import java.time.Duration;

/// What one client connection may ask of this room.
///
/// @param headBytes request line and fields together, and of a response; also HTTP/2's header list
/// @param headFields fields of one head
/// @param headTime from the first byte of a head to its last, and for the first head from the start
/// @param idleTime a connection without a request, or a request on which nothing moves
/// @param upstreamIdleTime a kept upstream connection
/// @param upstreamIdle kept upstream connections of one client connection
/// @param streams HTTP/2 requests at once
public record HttpLimits(
    int headBytes,
    int headFields,
    Duration headTime,
    Duration idleTime,
    Duration upstreamIdleTime,
    int upstreamIdle,
    int streams) {
  /// Envoy's numbers where it has one (60 KiB, 100 fields, 100 streams).
  public static final HttpLimits DEFAULT =
      new HttpLimits(
          60 * 1024,
          100,
          Duration.ofSeconds(10),
          Duration.ofHours(1),
          Duration.ofSeconds(60),
          8,
          100);
}
