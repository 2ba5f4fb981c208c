package io.tailwater.agent.dataplane.route;

/// Which endpoint of a destination takes the next connection (Istio's `loadBalancer`).
///
/// @param localityFailover whether endpoints of the client's own locality come first, and farther
///   ones only when those are out
public record LoadBalancing(Kind kind, boolean localityFailover) {
  /// Istio's `simple` values and its consistent hash.
  public enum Kind {
    LEAST_REQUEST,
    ROUND_ROBIN,
    RANDOM,
    /// To the dialled address.
    PASSTHROUGH,
    /// By the client's address (`consistentHash.useSourceIp`).
    SOURCE_HASH
  }

  /// Istio's default.
  public static final LoadBalancing DEFAULT = new LoadBalancing(Kind.LEAST_REQUEST, false);
}
