package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.Optional;

/// What policy says of one connection. A value; the flow carries it out.
public sealed interface Decision {
  /// Istio's name for refused unknown traffic.
  String BLACK_HOLE = "BlackHoleCluster";

  /// Istio's name for passed unknown traffic.
  String PASSTHROUGH = "PassthroughCluster";

  /// The name of the cluster under which it is counted; empty where there is none.
  Optional<String> cluster();

  /// Goes to a configured destination. `upstreamHost` is the name shown for it: the requested name
  /// under a wildcard, else the entry's host. With `auditing`, where the address filter would
  /// refuse, it passes to the dialled address instead.
  record Forward(
      Destination to,
      String upstreamHost,
      Target target,
      AddressRule addressRule,
      ResourceRef resource,
      boolean auditing)
      implements Decision {
    @Override
    public Optional<String> cluster() {
      return Optional.of(to.cluster());
    }
  }

  /// A configured destination: Istio's cluster name `outbound|PORT|SUBSET|HOST`, the service's
  /// host, namespace and port, and how connections to it are made.
  record Destination(
      String cluster, String host, String namespace, int port, ConnectionPolicy policy) {
    public Destination(String cluster, String host, String namespace, int port) {
      this(cluster, host, namespace, port, ConnectionPolicy.DEFAULT);
    }
  }

  /// Goes to the dialled address. `wouldBlock` is the reason for which enforcement would have
  /// refused it (audit mode).
  record Passthrough(Optional<Refusal> wouldBlock, Optional<ResourceRef> resource)
      implements Decision {
    @Override
    public Optional<String> cluster() {
      return Optional.of(PASSTHROUGH);
    }
  }

  /// Is refused. `resource` is what decided, if one did.
  record Refuse(Refusal why, Optional<String> cluster, Optional<ResourceRef> resource)
      implements Decision {}
}
