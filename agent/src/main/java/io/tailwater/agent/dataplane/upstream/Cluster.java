package io.tailwater.agent.dataplane.upstream;

import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.OutlierDetection;
import io.tailwater.agent.traffic.AddressText;
import java.net.InetSocketAddress;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;

/// A destination by Istio's cluster name, with the addresses that were dialled for it. Outlives
/// reloads of policy, so that counters do not jump. Any thread.
public final class Cluster {
  /// More addresses than this are counted under the cluster alone, so that a wildcard cannot grow
  /// without bound.
  static final int MAX_ENDPOINTS = 4096;

  private final String name;
  private final ConcurrentHashMap<Key, Endpoint> endpoints = new ConcurrentHashMap<>();
  private final LongAdder noneHealthy = new LongAdder();
  private final AtomicLong connections = new AtomicLong();
  private final AtomicLong requests = new AtomicLong();
  private final AtomicLong pending = new AtomicLong();
  private final AtomicLong retries = new AtomicLong();
  private final AtomicLong turns = new AtomicLong();
  private final LongAdder connectionOverflow = new LongAdder();
  private final LongAdder requestOverflow = new LongAdder();
  private final LongAdder retryOverflow = new LongAdder();
  private final LongAdder ejections = new LongAdder();
  private final LongAdder ejectionOverflow = new LongAdder();

  private volatile ConnectionPolicy.Limits limits = ConnectionPolicy.Limits.NONE;

  /// How many endpoints the last pick had.
  private volatile int members;

  /// When outlier detection first acted here; its intervals are counted from then. Guarded by
  /// [#ejecting].
  private @Nullable Long outlierEpoch;

  /// Held by whoever ejects, a few microseconds, so that two do not overrun the greatest share.
  private final Object ejecting = new Object();

  private final LongAdder bytesToUpstream = new LongAdder();
  private final LongAdder bytesToClient = new LongAdder();
  private final LongAdder connectTimeout = new LongAdder();
  private final LongAdder idleTimeout = new LongAdder();

  /// Compared and hashed for each connection, and by hand: what a record brings along for that is
  /// slow where C1 compiles it.
  private record Key(InetSocketAddress address, String hostname) {
    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof Key that
          && address.equals(that.address)
          && hostname.equals(that.hostname);
    }

    @Override
    public int hashCode() {
      return address.hashCode() * 31 + hostname.hashCode();
    }
  }

  Cluster(String name) {
    this.name = name;
  }

  /// Istio's name, such as `outbound|443||*.wikipedia.org`.
  public String name() {
    return name;
  }

  /// The endpoint of an address under a host name, made on first use.
  public Endpoint endpoint(InetSocketAddress address, String hostname, long nowNanos) {
    Key key = new Key(address, hostname);
    Endpoint known = endpoints.get(key);
    if (known != null) {
      return known;
    }
    if (endpoints.size() >= MAX_ENDPOINTS) {
      return new Endpoint(address, hostname, nowNanos);
    }
    return endpoints.computeIfAbsent(key, k -> new Endpoint(k.address(), k.hostname(), nowNanos));
  }

  /// A snapshot, ordered by host name and address.
  public List<Endpoint> endpoints() {
    Collection<Endpoint> all = endpoints.values();
    return all.stream()
        .sorted(
            Comparator.comparing(Endpoint::hostname)
                .thenComparing(e -> AddressText.of(e.address().getAddress()))
                .thenComparingInt(e -> e.address().getPort()))
        .toList();
  }

  /// Forgets endpoints that carried nothing since before `beforeNanos`.
  public void forgetIdle(long beforeNanos) {
    endpoints.values().removeIf(e -> e.idleSince(beforeNanos));
  }

  /// Takes a place for one more connection, to be given back by [#connectionLeft]; false, and
  /// counted as an overflow, where the limit is reached.
  public boolean admitConnection(ConnectionPolicy.Limits now) {
    if (!now.equals(limits)) {
      limits = now;
    }
    return admit(connections, now.maxConnections(), connectionOverflow);
  }

  /// What the last connection was admitted by.
  public ConnectionPolicy.Limits limits() {
    return limits;
  }

  /// A connection that was admitted has ended, or was not made.
  public void connectionLeft() {
    connections.decrementAndGet();
  }

  /// Takes a place for one more HTTP request, to be given back by [#requestLeft].
  public boolean admitRequest(ConnectionPolicy.Limits now) {
    return admit(requests, now.maxRequests(), requestOverflow);
  }

  public void requestLeft() {
    requests.decrementAndGet();
  }

  /// Takes a place for one more HTTP request that waits for its connection, to be given back by
  /// [#pendingLeft].
  public boolean admitPending(ConnectionPolicy.Limits now) {
    return admit(pending, now.maxPendingRequests(), requestOverflow);
  }

  public void pendingLeft() {
    pending.decrementAndGet();
  }

  /// Takes a place for one more HTTP request that is tried again, to be given back by [#retryLeft].
  public boolean admitRetry(ConnectionPolicy.Limits now) {
    return admit(retries, now.maxRetries(), retryOverflow);
  }

  public void retryLeft() {
    retries.decrementAndGet();
  }

  private static boolean admit(AtomicLong held, long most, LongAdder overflow) {
    if (held.incrementAndGet() > most) {
      held.decrementAndGet();
      overflow.increment();
      return false;
    }
    return true;
  }

  /// Something was learned of an endpoint. After as many failures in a row as the rule says it is
  /// ejected, if the share of those ejected allows it.
  public void tell(
      Endpoint endpoint, Sign sign, Optional<OutlierDetection> outlier, long nowNanos) {
    if (outlier.isPresent() && endpoint.took(sign, outlier.get()) && !endpoint.ejected(nowNanos)) {
      eject(endpoint, outlier.get(), nowNanos);
    }
  }

  private void eject(Endpoint endpoint, OutlierDetection rule, long nowNanos) {
    synchronized (ejecting) {
      long out = endpoints.values().stream().filter(e -> e.ejected(nowNanos)).count();
      if (out > 0 && (out + 1) * 100 > (long) rule.maxEjectionPercent() * members) {
        ejectionOverflow.increment();
        return;
      }
      if (outlierEpoch == null) {
        outlierEpoch = nowNanos;
      }
      endpoint.eject(Health.eject(endpoint.health(), rule, outlierEpoch, nowNanos));
      ejections.increment();
    }
  }

  void members(int count) {
    members = count;
  }

  /// Counts up with each round-robin pick.
  long nextTurn() {
    return turns.getAndIncrement();
  }

  /// A connection found nothing to dial.
  public void noneHealthy() {
    noneHealthy.increment();
  }

  public void connectTimedOut() {
    connectTimeout.increment();
  }

  public void idleTimedOut() {
    idleTimeout.increment();
  }

  /// Payload bytes of a finished or live connection, added as they are known.
  public void bytes(long toUpstream, long toClient) {
    bytesToUpstream.add(toUpstream);
    bytesToClient.add(toClient);
  }

  public long noneHealthyCount() {
    return noneHealthy.sum();
  }

  /// Envoy's `upstream_cx_overflow`.
  public long connectionOverflowCount() {
    return connectionOverflow.sum();
  }

  /// Envoy's `upstream_rq_pending_overflow`.
  public long requestOverflowCount() {
    return requestOverflow.sum();
  }

  /// Envoy's `upstream_rq_pending_active`.
  public long pendingCount() {
    return pending.get();
  }

  /// Envoy's `upstream_rq_retry_overflow`.
  public long retryOverflowCount() {
    return retryOverflow.sum();
  }

  /// Envoy's `outlier_detection.ejections_enforced_total`.
  public long ejectionCount() {
    return ejections.sum();
  }

  /// Envoy's `outlier_detection.ejections_overflow`.
  public long ejectionOverflowCount() {
    return ejectionOverflow.sum();
  }

  public long connectTimeoutCount() {
    return connectTimeout.sum();
  }

  public long idleTimeoutCount() {
    return idleTimeout.sum();
  }

  /// Envoy's `upstream_cx_tx_bytes_total`.
  public long bytesToUpstream() {
    return bytesToUpstream.sum();
  }

  /// Envoy's `upstream_cx_rx_bytes_total`.
  public long bytesToClient() {
    return bytesToClient.sum();
  }
}
