package io.tailwater.agent.dataplane.route;

import java.time.Duration;

/// When an endpoint is left out for a while (Istio's `outlierDetection`). A connection that cannot
/// be made counts as a gateway error, as it does in Envoy.
///
/// @param consecutiveErrors failures in a row that eject; 0 never ejects
/// @param interval how often ejected endpoints are looked at
/// @param baseEjectionTime times the number of ejections is how long it rests
/// @param maxEjectionPercent at most this share is out at once, one endpoint in any case
/// @param minHealthPercent below this share of healthy endpoints nobody is left out
public record OutlierDetection(
    int consecutiveErrors,
    Duration interval,
    Duration baseEjectionTime,
    int maxEjectionPercent,
    int minHealthPercent) {}
