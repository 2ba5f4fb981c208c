package io.tailwater.agent.traffic;

import java.net.InetAddress;
import java.util.List;
import java.util.Map;

/// What policy needs to know of a client pod. `ips` may be empty until they are found out.
public record Pod(
    PodRef ref, String serviceAccount, Map<String, String> labels, List<InetAddress> ips) {
  /// Stands for whoever sends from an address of no captured pod.
  public static final Pod UNKNOWN =
      new Pod(new PodRef("unknown", "unknown"), "", Map.of(), List.of());

  public Pod {
    labels = Map.copyOf(labels);
    ips = List.copyOf(ips);
  }

  /// Its namespace.
  public String namespace() {
    return ref.namespace();
  }

  // by hand, as in PodRef
  @Override
  public boolean equals(Object other) {
    return this == other
        || (other instanceof Pod that
            && ref.equals(that.ref)
            && serviceAccount.equals(that.serviceAccount)
            && labels.equals(that.labels)
            && ips.equals(that.ips));
  }

  @Override
  public int hashCode() {
    return ref.hashCode();
  }
}
