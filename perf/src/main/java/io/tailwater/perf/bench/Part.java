package io.tailwater.perf.bench;

/// What a run can be about. All of them by default; one alone is for a look with a profiler.
public enum Part {
  /// Memory at rest, and of held connections.
  MEMORY,
  /// Messages on kept connections.
  REQUESTS,
  /// A new connection for each message.
  CONNECTIONS,
  /// Many bytes in few connections, up and then down.
  BULK
}
