package io.tailwater.agent.control.istio;

import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.ResourceRef;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A valid Sidecar: what the workloads that it selects see of the services around them, as far as
/// outbound connections go.
///
/// @param selector labels of the workloads in its namespace; empty for all of them
/// @param egress in the order written; empty where it says nothing, which imports everything
/// @param outbound empty where the mesh's policy holds; else it replaces that whole
public record Sidecar(
    ResourceRef ref,
    Instant age,
    Map<String, String> selector,
    List<Egress> egress,
    Optional<Outbound> outbound) {
  public Sidecar {
    selector = Map.copyOf(selector);
    egress = List.copyOf(egress);
  }

  /// An egress listener. With a `port` it has that port alone, and the port has only its hosts.
  ///
  /// @param bind the address that it has instead of those of its services
  /// @param captured whether it takes captured connections: not with captureMode NONE, which opens
  ///   a port in the pod, and not at a socket file
  public record Egress(
      Optional<Port> port, Optional<String> bind, List<Import> hosts, boolean captured) {
    public Egress {
      hosts = List.copyOf(hosts);
    }

    public Egress(Optional<Port> port, Optional<String> bind, List<Import> hosts) {
      this(port, bind, hosts, true);
    }
  }

  /// The port of an egress listener.
  public record Port(int number, String name, Protocol protocol) {}

  /// One item of `hosts`: `namespace/dnsName`, with a leading `~` an exclusion.
  ///
  /// @param namespace a name, or one of `*` (every), `.` (the client's), `~` (none)
  /// @param host empty for `*`, every host
  public record Import(boolean excludes, String namespace, Optional<HostPattern> host) {
    /// Every host of every namespace.
    public static final Import ALL = new Import(false, "*", Optional.empty());

    /// As it is written.
    public String show() {
      return (excludes ? "~" : "") + namespace + "/" + host.map(HostPattern::text).orElse("*");
    }

    /// Whether it is about services of this namespace, for a client of that one.
    public boolean about(String serviceNamespace, String clientNamespace) {
      return switch (namespace) {
        case "*" -> true;
        case "~" -> false;
        case "." -> serviceNamespace.equals(clientNamespace);
        default -> serviceNamespace.equals(namespace);
      };
    }

    /// Whether every name of the service's host is among its own: `*.a.example` is among
    /// `*.example`, not the other way round.
    public boolean contains(HostPattern service) {
      return switch (host.orElse(null)) {
        case null -> true;
        case HostPattern.Exact exact -> exact.equals(service);
        case HostPattern.Wildcard wildcard ->
            switch (service) {
              case HostPattern.Exact(var name) -> wildcard.covers(name);
              case HostPattern.Wildcard(var suffix) ->
                  suffix.equals(wildcard.suffix()) || wildcard.covers(suffix);
            };
      };
    }
  }

  /// What becomes of unknown destinations.
  ///
  /// @param egressProxy where they go instead of to the dialled address
  public record Outbound(
      MeshSettings.OutboundTrafficPolicy mode, Optional<EgressProxy> egressProxy) {}

  /// The service that takes unknown traffic.
  public record EgressProxy(String host, String subset, int port) {}

  /// Its namespace.
  public String namespace() {
    return ref.namespace();
  }

  /// Whether it selects a workload of its namespace.
  public boolean selects(Map<String, String> labels) {
    return labels.entrySet().containsAll(selector.entrySet());
  }
}
