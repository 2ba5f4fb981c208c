package io.tailwater.agent.dataplane.route;

import java.time.Duration;
import java.util.Optional;

/// When an endpoint is left out for a while (Istio's `outlierDetection`). Of each number of
/// failures in a row, 0 never ejects.
///
/// @param consecutive5xx responses of 500 and above
/// @param consecutiveGateway responses of 502, 503 and 504
/// @param consecutiveLocal connections that cannot be made, resets and timeouts; empty where they
///   count as responses of a gateway (without `splitExternalLocalOriginErrors`)
/// @param interval how often ejected endpoints are looked at
/// @param baseEjectionTime times the number of ejections is how long it rests
/// @param maxEjectionPercent at most this share is out at once, one endpoint in any case
/// @param minHealthPercent below this share of healthy endpoints nobody is left out
public record OutlierDetection(
    int consecutive5xx,
    int consecutiveGateway,
    Optional<Integer> consecutiveLocal,
    Duration interval,
    Duration baseEjectionTime,
    int maxEjectionPercent,
    int minHealthPercent) {}
