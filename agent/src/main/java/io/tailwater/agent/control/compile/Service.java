package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.allocate.AddressAllocator;
import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.control.istio.Namespaces;
import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.control.istio.ServiceEntry;
import io.tailwater.agent.control.istio.Visibility;
import io.tailwater.agent.control.istio.Waypoint;
import io.tailwater.agent.dataplane.route.Action;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.Refusal;
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
import java.util.stream.Stream;

/// One host of one namespace as clients see it: all ServiceEntries there that name it, merged as
/// Istio merges them. Immutable.
///
/// Where a port is found belongs to the port: it comes from the entries that declare that port for
/// the same protocol, so that one entry's port never spreads over another's addresses, or over all.
///
/// The oldest entry decides. Others add their ports where resolution, labels, selector and exportTo
/// agree with it, and their endpoints in any case.
///
/// @param addresses what tells the service on every port where that counts: all addresses of its
///   entries, allocated ones included; the VIPs of a Kubernetes Service
/// @param binding the waypoint that it is bound to
record Service(
    HostPattern host,
    ResourceRef ref,
    Instant age,
    Visibility visibility,
    List<Port> ports,
    Origin origin,
    List<CidrBlock> addresses,
    Waypoints.Binding binding) {
  Service {
    ports = List.copyOf(ports);
    addresses = List.copyOf(addresses);
  }

  /// What the service was made of.
  sealed interface Origin {
    /// ServiceEntries.
    record Entries() implements Origin {}

    /// A Kubernetes Service. `alias` is the host that it only stands for (type ExternalName).
    record Kubernetes(Optional<HostPattern> alias) implements Origin {}
  }

  boolean kubernetes() {
    return origin instanceof Origin.Kubernetes;
  }

  /// The host that it only stands for.
  Optional<HostPattern> alias() {
    return origin instanceof Origin.Kubernetes(Optional<HostPattern> alias)
        ? alias
        : Optional.empty();
  }

  /// The same with some of its ports.
  Service with(List<Port> some) {
    return new Service(host, ref, age, visibility, some, origin, addresses, binding);
  }

  /// Whether it has a host or address before an older service, for clients of a namespace: their
  /// own services come first, then Kubernetes Services.
  boolean beats(Service older, String client) {
    boolean own = namespace().equals(client);
    boolean olderOwn = older.namespace().equals(client);
    return own == olderOwn ? kubernetes() && !older.kubernetes() : own;
  }

  /// Why the waypoint of a Kubernetes Service is not used.
  Optional<String> unusedWaypoint() {
    return kubernetes() && binding instanceof Waypoints.Binding.Unavailable(String why)
        ? Optional.of(why)
        : Optional.empty();
  }

  /// What becomes of its connections because of the waypoint that it is bound to.
  Optional<Action> bound() {
    String name = namespace() + "/" + host.text();
    return switch (binding) {
      case Waypoints.Binding.Unbound _ -> Optional.empty();
      case Waypoints.Binding.Bound(Waypoint waypoint) ->
          Optional.of(
              new Action.ToWaypoint(
                  new Decision.ToWaypoint(waypoint.name(), Optional.of(name), ref)));
      // As Istio has it, for a Service a waypoint that cannot be used counts as none.
      case Waypoints.Binding.Unavailable _ when kubernetes() -> Optional.empty();
      case Waypoints.Binding.Unavailable _ ->
          Optional.of(
              new Action.CannotReach(
                  new Decision.Refuse(
                      Refusal.WAYPOINT_UNAVAILABLE,
                      Optional.empty(),
                      Optional.of(ref),
                      Optional.of(name)),
                  ref));
    };
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

    /// The same, with something else spoken there.
    Port with(Protocol other) {
      return new Port(number, other, backend, addresses, everywhere, allocated);
    }

    /// The same at one address alone.
    Port boundTo(CidrBlock address) {
      return new Port(number, protocol, backend, List.of(address), false, List.of());
    }
  }

  String namespace() {
    return ref.namespace();
  }

  /// Whether what clients say names it on every port.
  boolean isNamed() {
    return ports.stream()
        .map(p -> p.protocol().family())
        .allMatch(f -> f == Protocol.Family.TLS || f == Protocol.Family.HTTP);
  }

  /// Its port of that number.
  Optional<Port> port(int number) {
    return ports.stream().filter(p -> p.number() == number).findFirst();
  }

  /// What merging needs to know of the rest of the configuration.
  interface Context {
    MeshSettings mesh();

    EgressSettings egress();

    Namespaces namespaces();

    Waypoints waypoints();

    Workloads workloads();
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
                    .flatMap(o -> allocated(o, host))
                    .distinct()
                    .toList()));
      }
    });
    List<CidrBlock> addresses = new ArrayList<>();
    for (ServiceEntry entry : oldestFirst) {
      if (agrees(lead, visibility, entry, context)) {
        addresses.addAll(entry.addresses());
        allocated(entry, host).forEach(a -> addresses.add(CidrBlock.of(a)));
      }
    }
    return new Service(
        host,
        lead.ref(),
        lead.age(),
        visibility,
        ports,
        new Origin.Entries(),
        addresses.stream().distinct().toList(),
        context.waypoints().ofEntry(lead.ref(), lead.labels()));
  }

  /// The addresses that a control plane gave a host of an entry. Where it would not have, because
  /// the entry has addresses or opts out, or nothing is known behind the host, those that are there
  /// are left over and mean nothing.
  private static Stream<InetAddress> allocated(ServiceEntry entry, HostPattern host) {
    return AddressAllocator.isEligible(entry, host)
        ? entry.allocated().stream()
            .filter(a -> a.host().isEmpty() || a.host().equalsIgnoreCase(host.text()))
            .map(ServiceEntry.Allocated::address)
        : Stream.empty();
  }

  /// Whether an entry asks for the same as the port's owner: its addresses then widen nothing that
  /// it does not open by itself.
  private static boolean sameTraffic(ServiceEntry.Port port, ServiceEntry other) {
    return port(other, port.number())
        .filter(p -> p.protocol() == port.protocol() && p.targetPort().equals(port.targetPort()))
        .isPresent();
  }

  /// What `exportTo` says, as far as the mesh's administrator lets it.
  private static Visibility visibility(ServiceEntry entry, Context context) {
    Visibility declared =
        Visibility.of(entry.exportTo(), entry.namespace(), context.mesh().defaultServiceExportTo());
    return context
        .mesh()
        .serviceEntryVisibility()
        .narrow(declared, entry.namespace(), context.namespaces().labels(entry.namespace()));
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
    return switch (lead.resolution()) {
      case NONE -> new Backend.Source.Dialled(port.targetPort().orElse(port.number()));
      case DYNAMIC_DNS -> new Backend.Source.ByName(List.copyOf(allPorts));
      case STATIC, DNS, DNS_ROUND_ROBIN ->
          new Backend.Source.Endpoints(
              endpoints(host, lead, port.number(), entries, context.workloads()),
              lead.resolution() == ServiceEntry.Resolution.DNS_ROUND_ROBIN);
    };
  }

  /// The endpoints of all entries that have the port; the port behind it is the endpoint's own,
  /// else the entry's `targetPort`, else the same.
  private static List<Backend.Labelled> endpoints(
      HostPattern host,
      ServiceEntry lead,
      int number,
      List<ServiceEntry> entries,
      Workloads workloads) {
    boolean lookUp = lead.resolution() != ServiceEntry.Resolution.STATIC;
    Set<Backend.Labelled> out = new LinkedHashSet<>();
    for (ServiceEntry entry : entries) {
      Optional<ServiceEntry.Port> port = port(entry, number);
      if (port.isEmpty()) {
        continue;
      }
      int target = port.get().targetPort().orElse(number);
      if (entry.workloadSelector().isPresent()) {
        out.addAll(
            workloads.selected(
                entry.namespace(), entry.workloadSelector().get(), port.get(), lookUp));
        continue;
      }
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
