package io.tailwater.agent.dataplane.resolve;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;

/// The counters of the cache under Envoy's names (`dns_cache.<name>.*`). Any thread.
///
/// An attempt is one round for one name, both families together. As with Envoy, NXDOMAIN and "no
/// record" count as success: a server gave a definite answer.
public final class ResolveStats {
  private final LongAdder queryAttempt = new LongAdder();
  private final LongAdder querySuccess = new LongAdder();
  private final LongAdder queryFailure = new LongAdder();
  private final LongAdder queryTimeout = new LongAdder();
  private final LongAdder hostAdded = new LongAdder();
  private final LongAdder hostRemoved = new LongAdder();
  private final LongAdder hostAddressChanged = new LongAdder();
  private final LongAdder hostOverflow = new LongAdder();
  private final LongAdder pendingOverflow = new LongAdder();
  private final LongAdder addressFilterOut = new LongAdder();

  void attempted() {
    queryAttempt.increment();
  }

  void succeeded() {
    querySuccess.increment();
  }

  void failed(boolean timeout) {
    queryFailure.increment();
    if (timeout) {
      queryTimeout.increment();
    }
  }

  void added() {
    hostAdded.increment();
  }

  void removed() {
    hostRemoved.increment();
  }

  void addressChanged() {
    hostAddressChanged.increment();
  }

  void hostOverflowed() {
    hostOverflow.increment();
  }

  void pendingOverflowed() {
    pendingOverflow.increment();
  }

  /// An address was dropped by the address filter; told by whoever applies the filter.
  public void addressFilteredOut() {
    addressFilterOut.increment();
  }

  /// A gauge: names in the cache.
  public long numHosts() {
    return hostAdded.sum() - hostRemoved.sum();
  }

  /// The counters (without the gauge `num_hosts`) in a stable order.
  public Map<String, Long> counters() {
    var all = new LinkedHashMap<String, Long>();
    all.put("dns_query_attempt", queryAttempt.sum());
    all.put("dns_query_success", querySuccess.sum());
    all.put("dns_query_failure", queryFailure.sum());
    all.put("dns_query_timeout", queryTimeout.sum());
    all.put("host_added", hostAdded.sum());
    all.put("host_removed", hostRemoved.sum());
    all.put("host_address_changed", hostAddressChanged.sum());
    all.put("host_overflow", hostOverflow.sum());
    all.put("dns_rq_pending_overflow", pendingOverflow.sum());
    all.put("dns_address_filter_out", addressFilterOut.sum());
    return all;
  }
}
