package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.KubeSecret;
import io.tailwater.agent.dataplane.tls.Credentials;
import io.tailwater.agent.traffic.PodRef;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/// The Secrets of the resources in force. Written by the policy feed, read on any thread.
public final class Secrets implements Credentials {
  private volatile Map<Key, Found> present = Map.of();

  private record Key(String namespace, String name) {}

  /// Replaces all. Called before the policy that names them is published.
  public void publish(List<KubeSecret> secrets) {
    Map<Key, Found> all = new HashMap<>();
    for (KubeSecret secret : secrets) {
      all.put(new Key(secret.namespace(), secret.name()), new Found.Present(secret.credential()));
    }
    present = Map.copyOf(all);
  }

  @Override
  public Found secret(String namespace, String name) {
    Found found = present.get(new Key(namespace, name));
    return found != null ? found : NONE.secret(namespace, name);
  }

  @Override
  public Found workload(PodRef pod) {
    return NONE.workload(pod);
  }
}
