package io.tailwater.agent.dataplane.route;

import java.time.Duration;
import java.util.Optional;

/// How connections to a destination are made and shared out: what a DestinationRule's
/// `trafficPolicy` comes to for one port and subset, with Istio's defaults where it is silent.
/// Complete and immutable; compiled beforehand.
///
/// @param tls TLS that the agent originates; empty where the client's bytes go on as they are
/// @param limits what is carried at once
/// @param connectTimeout for one dial; empty for the agent's own
/// @param idleTimeout of bytes that go on as they are; empty for the agent's own
/// @param maxConnectionDuration after which a connection is ended, however busy
/// @param keepAlive TCP keep-alive towards the destination
/// @param balancing which endpoint takes a connection
/// @param outlier when an endpoint rests
/// @param http what holds for HTTP alone
public record ConnectionPolicy(
    Optional<UpstreamTls> tls,
    Limits limits,
    Optional<Duration> connectTimeout,
    Optional<Duration> idleTimeout,
    Optional<Duration> maxConnectionDuration,
    Optional<KeepAlive> keepAlive,
    LoadBalancing balancing,
    Optional<OutlierDetection> outlier,
    Http http) {
  /// Nothing is configured: plaintext as it comes, no bounds, Istio's default balancing.
  public static final ConnectionPolicy DEFAULT =
      new ConnectionPolicy(
          Optional.empty(),
          Limits.NONE,
          Optional.empty(),
          Optional.empty(),
          Optional.empty(),
          Optional.empty(),
          LoadBalancing.DEFAULT,
          Optional.empty(),
          Http.DEFAULT);

  /// The same with other TLS.
  public ConnectionPolicy with(Optional<UpstreamTls> other) {
    return new ConnectionPolicy(
        other,
        limits,
        connectTimeout,
        idleTimeout,
        maxConnectionDuration,
        keepAlive,
        balancing,
        outlier,
        http);
  }

  /// What holds for connections that carry HTTP requests.
  ///
  /// @param spoken which HTTP requests go on as; empty where the port's protocol says it
  /// @param idleTimeout of a connection without a request; empty for the agent's own
  public record Http(Optional<UpstreamHttp> spoken, Optional<Duration> idleTimeout) {
    public static final Http DEFAULT = new Http(Optional.empty(), Optional.empty());
  }

  /// Istio's `connectionPool` as far as it bounds something. [#UNLIMITED] is no bound, as Envoy
  /// shows it.
  ///
  /// @param maxConnections TCP connections to the destination
  /// @param maxRequests HTTP requests at once (`http2MaxRequests`)
  /// @param maxPendingRequests HTTP requests that wait for a connection (`http1MaxPendingRequests`)
  /// @param maxRetries HTTP requests at once that are tried again
  /// @param maxRequestsPerConnection after which an HTTP connection is not used again; 0 is no
  ///   bound
  public record Limits(
      long maxConnections,
      long maxRequests,
      long maxPendingRequests,
      long maxRetries,
      int maxRequestsPerConnection) {
    /// Envoy's largest threshold.
    public static final long UNLIMITED = 4_294_967_295L;

    public static final Limits NONE = new Limits(UNLIMITED, UNLIMITED, UNLIMITED, UNLIMITED, 0);
  }

  /// Istio's `tcpKeepalive`; what is empty is the kernel's default.
  public record KeepAlive(
      Optional<Integer> probes, Optional<Duration> time, Optional<Duration> interval) {}
}
