package io.tailwater.agent.dataplane.connect;

import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.transport.StreamSocket;
import io.tailwater.agent.dataplane.upstream.Cluster;
import io.tailwater.agent.dataplane.upstream.Endpoint;

/// A connection to an endpoint, with TLS where policy wants it. It holds a place of the
/// destination's limit: whoever has it says [#ended] when the connection is no more. Loop only.
public final class UpstreamConnection {
  private final StreamSocket socket;
  private final Cluster cluster;
  private final Endpoint endpoint;
  private final ConnectionPolicy policy;
  private final String protocol;
  private boolean ended;

  UpstreamConnection(
      StreamSocket socket,
      Cluster cluster,
      Endpoint endpoint,
      ConnectionPolicy policy,
      String protocol) {
    this.socket = socket;
    this.cluster = cluster;
    this.endpoint = endpoint;
    this.policy = policy;
    this.protocol = protocol;
  }

  public StreamSocket socket() {
    return socket;
  }

  public Cluster cluster() {
    return cluster;
  }

  public Endpoint endpoint() {
    return endpoint;
  }

  public ConnectionPolicy policy() {
    return policy;
  }

  /// What ALPN chose; empty without TLS or choice.
  public String protocol() {
    return protocol;
  }

  /// Gives the place back. More than once is once.
  public void ended() {
    if (!ended) {
      ended = true;
      cluster.connectionLeft();
    }
  }
}
