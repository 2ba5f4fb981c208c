package io.tailwater.agent.dataplane.account;

import java.util.concurrent.atomic.LongAdder;

/// The counters of one label set. Any thread; striped. A connection looks its series up once and
/// keeps it, because a look-up costs a hundred times an addition.
final class TrafficSeries {
  final LongAdder opened = new LongAdder();

  /// Ended without an error.
  final LongAdder closed = new LongAdder();

  /// Ended with ztunnel's flag CONNECT.
  final LongAdder failed = new LongAdder();

  /// Client to server, as ztunnel names it.
  final LongAdder received = new LongAdder();

  /// Server to client.
  final LongAdder sent = new LongAdder();
}
