package io.tailwater.perf.bench;

import java.util.EnumSet;
import java.util.Set;

/// What a run can be about; one alone is for a look with a profiler.
public enum Part {
  /// Memory at rest, and of held connections.
  MEMORY,
  /// Messages on kept connections.
  REQUESTS,
  /// A new connection for each message.
  CONNECTIONS,
  /// Many bytes in few connections, up and then down.
  BULK,
  /// New connections to a process that has just started, which for every round is another one.
  START;

  /// What is measured where nothing is chosen: all but [#START], which takes as long again.
  public static Set<Part> usual() {
    return EnumSet.complementOf(EnumSet.of(START));
  }
}
