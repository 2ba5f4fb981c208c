package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.control.istio.ServiceEntry;
import io.tailwater.agent.control.istio.Visibility;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/// One host of one namespace as clients see it: all ServiceEntries there that name it, merged as
/// Istio merges them. Immutable.
///
/// Where a port is found belongs to the port: it comes from the entries that declare that port for
/// the same protocol, so that one entry's port never spreads over another's addresses, or over all.
///
/// The oldest entry decides. Others add their ports where resolution, labels, selector and exportTo
/// agree with it, and their endpoints in any case.
record Service(
    HostPattern host, ResourceRef ref, Instant age, Visibility visibility, List<Port> ports) {
  Service {
    ports = List.copyOf(ports);
  }

  /// Oldest first, then by name and namespace.
  static final Comparator<ServiceEntry> ENTRY_AGE =
      Comparator.comparing(ServiceEntry::age)
          .thenComparing(ServiceEntry::name)
          .thenComparing(ServiceEntry::namespace);

  /// The same order for services.
  static final Comparator<Service> AGE =
      Comparator.comparing(Service::age)
          .thenComparing((Service s) -> s.ref.name())
          .thenComparing(Service::namespace)
          .thenComparing((Service s) -> s.host.text());

  /// A port with what is behind it. `everywhere` tells that one of its entries has no addresses: it
  /// is found by name or port at every address, and at `addresses` besides. `allocated` are the
  /// addresses that a control plane gave the host; they name the service where DNS answers with
  /// them.
  record Port(
      int number,
      Protocol protocol,
      Backend backend,
      List<CidrBlock> addresses,
      boolean everywhere,
      List<InetAddress> allocated) {
    Port {
      addresses = List.copyOf(addresses);
      allocated = List.copyOf(allocated);
    }
  }

  String namespace() {
    return ref.namespace();
  }

  /// Its port of that number.
  Optional<Port> port(int number) {
    return ports.stream().filter(p -> p.number() == number).findFirst();
  }

  /// What merging needs to know of the rest of the configuration.
  interface Context {
    MeshSettings mesh();

    EgressSettings egress();

    /// Whether and by what label the entry is bound to a waypoint.
    Optional<String> waypointLabel(ServiceEntry entry);
  }

  /// Merges the entries of one namespace that name the host, the oldest first.
  static Service merge(HostPattern host, List<ServiceEntry> oldestFirst, Context context) {
    ServiceEntry lead = oldestFirst.getFirst();
    Visibility visibility = visibility(lead, context);
    Map<Integer, List<ServiceEntry>> portOwners = new LinkedHashMap<>();
    List<CidrBlock> exceptions = new ArrayList<>(context.egress().allowedAddresses());
    for (ServiceEntry entry : oldestFirst) {
      if (!agrees(lead, visibility, entry, context)) {
        continue;
      }
      for (ServiceEntry.Port p : entry.ports()) {
        portOwners.computeIfAbsent(p.number(), _ -> new ArrayList<>(1)).add(entry);
      }
      exceptions.addAll(entry.allowedAddresses());
    }
    AddressRule rule = new AddressRule(scope(lead, host), exceptions);
    List<Port> ports = new ArrayList<>();
    portOwners.forEach((number, owners) -> {
      ServiceEntry owner = owners.getFirst();
      ServiceEntry.Port port = port(owner, number).orElseThrow();
      if (port.protocol() != Protocol.UDP) {
        List<ServiceEntry> alike = owners.stream().filter(o -> sameTraffic(port, o)).toList();
        ports.add(
            new Port(
                number,
                port.protocol(),
                new Backend(
                    host,
                    lead.namespace(),
                    number,
                    port.protocol(),
                    source(host, lead, port, portOwners.keySet(), oldestFirst, context),
                    rule,
                    owner.ref()),
                alike.stream().flatMap(o -> o.addresses().stream()).distinct().toList(),
                alike.stream().anyMatch(o -> o.addresses().isEmpty()),
                alike.stream()
                    .filter(o -> o.addresses().isEmpty())
                    .flatMap(o -> o.allocated().stream())
                    .filter(a -> a.host().isEmpty() || a.host().equalsIgnoreCase(host.text()))
                    .map(ServiceEntry.Allocated::address)
                    .distinct()
                    .toList()));
      }
    });
    return new Service(host, lead.ref(), lead.age(), visibility, ports);
  }

  /// Whether an entry asks for the same as the port's owner: its addresses then widen nothing that
  /// it does not open by itself.
  private static boolean sameTraffic(ServiceEntry.Port port, ServiceEntry other) {
    return port(other, port.number())
        .filter(p -> p.protocol() == port.protocol() && p.targetPort().equals(port.targetPort()))
        .isPresent();
  }

  private static Visibility visibility(ServiceEntry entry, Context context) {
    return Visibility.of(
        entry.exportTo(), entry.namespace(), context.mesh().defaultServiceExportTo());
  }

  private static boolean agrees(
      ServiceEntry lead, Visibility visibility, ServiceEntry other, Context context) {
    return lead.resolution() == other.resolution()
        && lead.labels().equals(other.labels())
        && lead.workloadSelector().equals(other.workloadSelector())
        && visibility.equals(visibility(other, context));
  }

  private static Optional<ServiceEntry.Port> port(ServiceEntry entry, int number) {
    return entry.ports().stream().filter(p -> p.number() == number).findFirst();
  }

  /// The never list holds for every entry. Who may own a name that the client chooses under an
  /// external wildcard is a stranger; who is named in full, or listed as endpoint, is not.
  static AddressRule.Scope scope(ServiceEntry entry, HostPattern host) {
    boolean clientPicks =
        entry.resolution() == ServiceEntry.Resolution.DYNAMIC_DNS
            || entry.resolution() == ServiceEntry.Resolution.NONE;
    return entry.location() == ServiceEntry.Location.MESH_EXTERNAL
            && host instanceof HostPattern.Wildcard
            && clientPicks
        ? AddressRule.Scope.NEVER_LIST_AND_PRIVATE
        : AddressRule.Scope.NEVER_LIST;
  }

  private static Backend.Source source(
      HostPattern host,
      ServiceEntry lead,
      ServiceEntry.Port port,
      Set<Integer> allPorts,
      List<ServiceEntry> entries,
      Context context) {
    Optional<String> notHonoured = notHonoured(lead, context);
    if (notHonoured.isPresent()) {
      return new Backend.Source.NotHonoured(notHonoured.get());
    }
    return switch (lead.resolution()) {
      case NONE -> new Backend.Source.Dialled(port.targetPort().orElse(port.number()));
      case DYNAMIC_DNS -> new Backend.Source.ByName(List.copyOf(allPorts));
      case STATIC, DNS, DNS_ROUND_ROBIN ->
          new Backend.Source.Endpoints(
              endpoints(host, lead, port.number(), entries),
              lead.resolution() == ServiceEntry.Resolution.DNS_ROUND_ROBIN);
    };
  }

  /// What about the service is not honoured by this version, as a clause after "because".
  private static Optional<String> notHonoured(ServiceEntry lead, Context context) {
    Optional<String> waypoint = context.waypointLabel(lead);
    if (waypoint.isPresent()) {
      return Optional.of("it is bound to a waypoint by " + waypoint.get());
    }
    return lead.workloadSelector().isPresent()
        ? Optional.of("workloadSelector is not honoured yet")
        : Optional.empty();
  }

  /// The endpoints of all entries that have the port; the port behind it is the endpoint's own,
  /// else the entry's `targetPort`, else the same.
  private static List<Backend.Labelled> endpoints(
      HostPattern host, ServiceEntry lead, int number, List<ServiceEntry> entries) {
    boolean lookUp = lead.resolution() != ServiceEntry.Resolution.STATIC;
    Set<Backend.Labelled> out = new LinkedHashSet<>();
    for (ServiceEntry entry : entries) {
      Optional<ServiceEntry.Port> port = port(entry, number);
      if (port.isEmpty()) {
        continue;
      }
      int target = port.get().targetPort().orElse(number);
      if (entry.endpoints().isEmpty()) {
        if (lookUp
            && entry.resolution() != ServiceEntry.Resolution.STATIC
            && host instanceof HostPattern.Exact(HostName name)) {
          out.add(new Backend.Labelled(new Target.Endpoint.Name(name, target), Map.of()));
        }
        continue;
      }
      for (ServiceEntry.Endpoint endpoint : entry.endpoints()) {
        int dialled = endpoint.ports().getOrDefault(port.get().name(), target);
        place(endpoint, dialled, lookUp)
            .ifPresent(place -> out.add(new Backend.Labelled(place, endpoint.labels())));
      }
    }
    return List.copyOf(out);
  }

  private static Optional<Target.Endpoint> place(
      ServiceEntry.Endpoint endpoint, int port, boolean lookUp) {
    Target.Traits traits =
        new Target.Traits(Math.max(1, endpoint.weight()), endpoint.locality(), false);
    return switch (endpoint.place()) {
      case ServiceEntry.Place.Ip(var address) ->
          Optional.of(new Target.Endpoint.Address(new InetSocketAddress(address, port), traits));
      case ServiceEntry.Place.Name(HostName name) ->
          lookUp ? Optional.of(new Target.Endpoint.Name(name, port, traits)) : Optional.empty();
      case ServiceEntry.Place.Unix(String path) ->
          Optional.of(new Target.Endpoint.Unix(path, traits));
      case ServiceEntry.Place.Elsewhere _ -> Optional.empty();
    };
  }
}
