package io.tailwater.agent.dataplane.upstream;

import io.tailwater.agent.traffic.AddressText;
import java.net.InetSocketAddress;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;

/// A destination by Istio's cluster name, with the addresses that were dialled for it. Outlives
/// reloads of policy, so that counters do not jump. Any thread.
public final class Cluster {
  /// More addresses than this are counted under the cluster alone, so that a wildcard cannot grow
  /// without bound.
  static final int MAX_ENDPOINTS = 4096;

  private final String name;
  private final ConcurrentHashMap<Key, Endpoint> endpoints = new ConcurrentHashMap<>();
  private final LongAdder noneHealthy = new LongAdder();
  private final LongAdder bytesToUpstream = new LongAdder();
  private final LongAdder bytesToClient = new LongAdder();
  private final LongAdder connectTimeout = new LongAdder();
  private final LongAdder idleTimeout = new LongAdder();

  private record Key(InetSocketAddress address, String hostname) {}

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
