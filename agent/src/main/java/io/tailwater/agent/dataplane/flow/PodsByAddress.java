package io.tailwater.agent.dataplane.flow;

import java.net.InetAddress;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/// The captured pods of the node by the addresses that they send from. Any thread; a change is seen
/// by the next connection.
public final class PodsByAddress {
  private final Map<InetAddress, ServedPod> pods = new ConcurrentHashMap<>();

  /// The pod at an address.
  public Optional<ServedPod> at(InetAddress address) {
    return Optional.ofNullable(pods.get(address));
  }

  /// Adds a pod under all of its addresses. Returns who is at one of them already, and changes
  /// nothing then.
  public Optional<ServedPod> add(ServedPod pod) {
    for (InetAddress address : pod.pod().ips()) {
      ServedPod other = pods.get(address);
      if (other != null && other != pod) {
        return Optional.of(other);
      }
    }
    pod.pod().ips().forEach(address -> pods.put(address, pod));
    return Optional.empty();
  }

  /// Takes a pod away from all of its addresses.
  public void remove(ServedPod pod) {
    pods.values().removeIf(known -> known == pod);
  }
}
