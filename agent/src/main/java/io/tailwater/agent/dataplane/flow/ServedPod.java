package io.tailwater.agent.dataplane.flow;

import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.dns.ToldAddresses;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.transport.SocketPlace;
import io.tailwater.agent.traffic.Pod;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/// A captured pod as its connections see it. Any thread.
public final class ServedPod {
  private final Pod pod;
  private final SocketPlace place;
  private final String locality;
  private final AtomicInteger connections = new AtomicInteger();
  private final AtomicInteger handshakes = new AtomicInteger();
  private volatile @Nullable ToldAddresses told;
  private volatile RelayedListener relayed = _ -> {};

  /// Written by any loop: whoever notices a new table looks its view up; all find the same.
  private volatile CachedView cached;

  /// Hears of connections that are about to be dialled for the pod: name, decision and addresses
  /// are known.
  @FunctionalInterface
  public interface RelayedListener {
    /// On the connection's loop; must not wait.
    void relayed(ConnectionRecord record);
  }

  private record CachedView(RouteTable table, ClientView view) {}

  public ServedPod(Pod pod, SocketPlace place, RouteTable table) {
    this.pod = pod;
    this.place = place;
    this.locality = locality(pod.labels());
    this.cached = new CachedView(table, table.view(pod));
  }

  public Pod pod() {
    return pod;
  }

  public SocketPlace place() {
    return place;
  }

  /// Where it runs, as `region/zone/subzone`; empty where unknown.
  public String locality() {
    return locality;
  }

  /// As Istio reads it: the pod's own label with dots, else Kubernetes' labels of the topology,
  /// which it copies from the node.
  private static String locality(Map<String, String> labels) {
    String own = labels.getOrDefault("istio-locality", "");
    if (!own.isEmpty()) {
      return own.replace('.', '/');
    }
    String region = labels.getOrDefault("topology.kubernetes.io/region", "");
    return region.isEmpty()
        ? ""
        : region
            + "/"
            + labels.getOrDefault("topology.kubernetes.io/zone", "")
            + "/"
            + labels.getOrDefault("topology.istio.io/subzone", "");
  }

  /// The pod's connections that live now.
  public AtomicInteger connections() {
    return connections;
  }

  /// Those whose first bytes are awaited now.
  AtomicInteger handshakes() {
    return handshakes;
  }

  /// DNS of the pod is captured from now on; where is written down what it is told.
  public ToldAddresses captureDns() {
    ToldAddresses mine = new ToldAddresses();
    told = mine;
    return mine;
  }

  /// What captured DNS told the pod; empty where it is not captured.
  public Optional<ToldAddresses> told() {
    return Optional.ofNullable(told);
  }

  /// Who hears of relayed connections from now on.
  public void onRelayed(RelayedListener listener) {
    relayed = listener;
  }

  void relayed(ConnectionRecord record) {
    relayed.relayed(record);
  }

  /// The view of the table for this pod.
  public ClientView view(RouteTable table) {
    CachedView seen = cached;
    if (seen.table().generation() != table.generation()) {
      seen = new CachedView(table, table.view(pod));
      cached = seen;
    }
    return seen.view();
  }
}
