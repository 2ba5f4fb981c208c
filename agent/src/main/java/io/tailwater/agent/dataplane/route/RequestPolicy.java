package io.tailwater.agent.dataplane.route;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// What a VirtualService's `http` route does to a request on its way. Immutable.
///
/// @param authority the Host that is sent instead
/// @param path the prefix that was matched and what takes its place
/// @param timeout for the whole exchange; empty is none
/// @param retries how often and when it is tried again
/// @param requestHeaders what is done to the request's headers
/// @param responseHeaders what is done to the response's headers
public record RequestPolicy(
    Optional<String> authority,
    Optional<PathRewrite> path,
    Optional<Duration> timeout,
    Retries retries,
    Headers requestHeaders,
    Headers responseHeaders) {
  /// Nothing is done.
  public static final RequestPolicy NONE =
      new RequestPolicy(
          Optional.empty(),
          Optional.empty(),
          Optional.empty(),
          Retries.DEFAULT,
          Headers.NONE,
          Headers.NONE);

  /// `prefix` was matched; `by` takes its place.
  public record PathRewrite(String prefix, String by) {}

  /// Istio's `retries`.
  ///
  /// @param attempts after the first; 0 is never
  /// @param perTryTimeout empty is the whole timeout
  /// @param on Envoy's conditions
  public record Retries(int attempts, Optional<Duration> perTryTimeout, List<String> on) {
    /// Istio's default.
    public static final Retries DEFAULT =
        new Retries(
            2,
            Optional.empty(),
            List.of("connect-failure", "refused-stream", "unavailable", "cancelled"));

    public Retries {
      on = List.copyOf(on);
    }
  }

  /// Names are in lower case. First `remove`, then `set`, then `add`.
  public record Headers(Map<String, String> set, Map<String, String> add, List<String> remove) {
    public static final Headers NONE = new Headers(Map.of(), Map.of(), List.of());

    public Headers {
      set = Map.copyOf(set);
      add = Map.copyOf(add);
      remove = List.copyOf(remove);
    }
  }
}
