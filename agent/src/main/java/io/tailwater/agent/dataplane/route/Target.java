package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.HostName;
import java.net.InetSocketAddress;
import java.util.List;

/// What is to be dialled for a decision, before names are resolved and addresses filtered.
public sealed interface Target {
  /// Whether some of it is reached only through a tunnel (HBONE).
  default boolean tunnelled() {
    if (this instanceof Endpoints some) {
      for (Endpoint endpoint : some.endpoints()) { // asked for each connection: no stream
        if (endpoint.traits().hbone()) {
          return true;
        }
      }
    }
    return false;
  }

  /// The address that the client dialled, on this port (resolution NONE).
  record Dialled(int port) implements Target {}

  /// Any of these. Never empty: a destination without endpoints is refused by the router.
  ///
  /// @param oneAddress whether a connection tries one address of a name only (DNS_ROUND_ROBIN)
  record Endpoints(List<Endpoint> endpoints, boolean oneAddress) implements Target {
    public Endpoints {
      endpoints = List.copyOf(endpoints);
      if (endpoints.isEmpty()) {
        throw new IllegalArgumentException("a target without endpoints");
      }
    }

    public Endpoints(List<Endpoint> endpoints) {
      this(endpoints, false);
    }
  }

  /// One place to dial.
  sealed interface Endpoint {
    /// What choosing among endpoints needs.
    Traits traits();

    /// An address.
    record Address(InetSocketAddress address, Traits traits) implements Endpoint {
      public Address(InetSocketAddress address) {
        this(address, Traits.PLAIN);
      }
    }

    /// A name to resolve, with the port to dial.
    record Name(HostName name, int port, Traits traits) implements Endpoint {
      public Name(HostName name, int port) {
        this(name, port, Traits.PLAIN);
      }
    }

    /// A socket file on the node, by its path; an abstract one begins with `@`.
    record Unix(String path, Traits traits) implements Endpoint {
      public Unix(String path) {
        this(path, Traits.PLAIN);
      }
    }
  }

  /// What is known of an endpoint besides where it is.
  ///
  /// @param weight its share among others, at least 1
  /// @param locality `region/zone/subzone`, empty where unknown
  /// @param hbone whether it is reached through a tunnel (HBONE, port 15008)
  record Traits(int weight, String locality, boolean hbone) {
    public static final Traits PLAIN = new Traits(1, "", false);

    public Traits {
      if (weight < 1) {
        throw new IllegalArgumentException("weight " + weight);
      }
    }
  }
}
