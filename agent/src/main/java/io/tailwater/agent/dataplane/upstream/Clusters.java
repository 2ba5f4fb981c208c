package io.tailwater.agent.dataplane.upstream;

import java.util.Comparator;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;

/// All clusters by name. Any thread.
public final class Clusters {
  private final ConcurrentHashMap<String, Cluster> byName = new ConcurrentHashMap<>();

  /// The cluster of a name, made on first use. Names come from policy, never from the wire.
  public Cluster cluster(String name) {
    Cluster known = byName.get(name);
    return known != null ? known : byName.computeIfAbsent(name, Cluster::new);
  }

  /// A snapshot, ordered by name.
  public List<Cluster> all() {
    return byName.values().stream().sorted(Comparator.comparing(Cluster::name)).toList();
  }

  /// Forgets endpoints that carried nothing since before `beforeNanos`.
  public void forgetIdle(long beforeNanos) {
    byName.values().forEach(c -> c.forgetIdle(beforeNanos));
  }
}
