package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.HostName;
import java.net.InetSocketAddress;
import java.util.List;

/// What is to be dialled for a decision, before names are resolved and addresses filtered.
public sealed interface Target {
  /// The address that the client dialled, on this port (resolution NONE).
  record Dialled(int port) implements Target {}

  /// Any of these. Never empty: a destination without endpoints is refused by the router.
  record Endpoints(List<Endpoint> endpoints) implements Target {
    public Endpoints {
      endpoints = List.copyOf(endpoints);
      if (endpoints.isEmpty()) {
        throw new IllegalArgumentException("a target without endpoints");
      }
    }
  }

  /// One place to dial.
  sealed interface Endpoint {
    /// An address.
    record Address(InetSocketAddress address) implements Endpoint {}

    /// A name to resolve, with the port to dial.
    record Name(HostName name, int port) implements Endpoint {}
  }
}
