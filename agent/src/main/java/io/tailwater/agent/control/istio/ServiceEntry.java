package io.tailwater.agent.control.istio;

import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A valid ServiceEntry. `exportTo` is as written, empty where absent; `allocated` are the
/// addresses of `status.addresses`; `allowedAddresses` is the annotation that excepts blocks from
/// the address filter (root namespace only); `waypoint` the label of the entry itself.
public record ServiceEntry(
    ResourceRef ref,
    Instant age,
    List<HostPattern> hosts,
    List<CidrBlock> addresses,
    List<Port> ports,
    Location location,
    Resolution resolution,
    List<Endpoint> endpoints,
    Optional<Map<String, String>> workloadSelector,
    List<String> exportTo,
    List<String> subjectAltNames,
    List<Allocated> allocated,
    List<CidrBlock> allowedAddresses,
    Map<String, String> labels) {
  public ServiceEntry {
    hosts = List.copyOf(hosts);
    addresses = List.copyOf(addresses);
    ports = List.copyOf(ports);
    endpoints = List.copyOf(endpoints);
    exportTo = List.copyOf(exportTo);
    subjectAltNames = List.copyOf(subjectAltNames);
    allocated = List.copyOf(allocated);
    allowedAddresses = List.copyOf(allowedAddresses);
    labels = Map.copyOf(labels);
  }

  /// Whether the destination belongs to the mesh.
  public enum Location {
    MESH_EXTERNAL,
    MESH_INTERNAL
  }

  /// Where its addresses come from.
  public enum Resolution {
    /// The address that the client dialled.
    NONE,
    /// The endpoints.
    STATIC,
    /// Looking up the endpoints' names, or the host.
    DNS,
    /// The same, one address for each new connection.
    DNS_ROUND_ROBIN,
    /// Looking up the name that the client asked for.
    DYNAMIC_DNS
  }

  /// A port that clients dial. `targetPort` is the port behind it where that differs.
  public record Port(int number, String name, Protocol protocol, Optional<Integer> targetPort) {}

  /// One endpoint, with the ports it has by the names of the entry's ports.
  public record Endpoint(
      Place place,
      Map<String, Integer> ports,
      Map<String, String> labels,
      String network,
      String locality,
      int weight,
      String serviceAccount) {
    public Endpoint {
      ports = Map.copyOf(ports);
      labels = Map.copyOf(labels);
    }
  }

  /// Where an endpoint is.
  public sealed interface Place {
    /// At an address.
    record Ip(InetAddress address) implements Place {}

    /// At whatever a name resolves to.
    record Name(HostName name) implements Place {}

    /// At a socket file.
    record Unix(String path) implements Place {}

    /// In another network, behind its gateway.
    record Elsewhere() implements Place {}
  }

  /// An address that a control plane allocated for a host.
  public record Allocated(InetAddress address, String host) {}

  /// The same with other allocated addresses.
  public ServiceEntry withAllocated(List<Allocated> addresses) {
    return new ServiceEntry(
        ref,
        age,
        hosts,
        this.addresses,
        ports,
        location,
        resolution,
        endpoints,
        workloadSelector,
        exportTo,
        subjectAltNames,
        addresses,
        allowedAddresses,
        labels);
  }

  /// Its namespace.
  public String namespace() {
    return ref.namespace();
  }

  /// Its name.
  public String name() {
    return ref.name();
  }
}
