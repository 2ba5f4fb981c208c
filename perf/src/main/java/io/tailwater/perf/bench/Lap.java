package io.tailwater.perf.bench;

import io.tailwater.perf.measure.Footprint;

/// One turn of one agent in a long run: new connections, then requests, then a look at what it
/// takes up when it has come to rest, with the held connections still there.
///
/// @param minute since the run began, when the turn was over
/// @param connections made in this turn
/// @param requests made in this turn
public record Lap(
    String grade,
    double minute,
    long connections,
    double connectionsPerSecond,
    long requests,
    double requestsPerSecond,
    double requestP99,
    Footprint footprint) {}
