package io.tailwater.agent.dataplane.dns;

import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.Pod;
import java.net.InetAddress;
import java.time.Duration;
import java.util.List;

/// Hears what pods are told, before the answer is sent: whoever acts on connections to these
/// addresses is ready when the first one comes. On the pod's loop; must not wait.
@FunctionalInterface
public interface ToldListener {
  /// Nobody.
  ToldListener NONE = (_, _, _, _) -> {};

  /// The pod is about to learn that the name has these addresses, for so long: a look-up found
  /// them, nobody configured or allocated them.
  void told(Pod pod, HostName name, List<InetAddress> addresses, Duration ttl);
}
