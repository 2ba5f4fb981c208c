package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.control.istio.ServiceEntry;
import io.tailwater.agent.control.istio.Visibility;
import io.tailwater.agent.dataplane.route.Action;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
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

  /// A port with what is done for it. `everywhere` tells that one of its entries has no addresses:
  /// it is found by name or port at every address, and at `addresses` besides.
  record Port(
      int number, Protocol protocol, Action action, List<CidrBlock> addresses, boolean everywhere) {
    Port {
      addresses = List.copyOf(addresses);
    }
  }

  String namespace() {
    return ref.namespace();
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
                action(host, lead, owner, port, oldestFirst, rule, context),
                alike.stream().flatMap(o -> o.addresses().stream()).distinct().toList(),
                alike.stream().anyMatch(o -> o.addresses().isEmpty())));
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

  private static Action action(
      HostPattern host,
      ServiceEntry lead,
      ServiceEntry owner,
      ServiceEntry.Port port,
      List<ServiceEntry> entries,
      AddressRule rule,
      Context context) {
    Decision.Destination to =
        new Decision.Destination(
            "outbound|" + port.number() + "||" + host.text(),
            host.text(),
            lead.namespace(),
            port.number());
    Optional<String> notHonoured = notHonoured(lead, port, entries, context);
    if (notHonoured.isPresent()) {
      return new Action.NotHonoured(to, notHonoured.get(), owner.ref());
    }
    boolean wildcard = host instanceof HostPattern.Wildcard;
    return switch (lead.resolution()) {
      case NONE -> {
        Target target = new Target.Dialled(port.targetPort().orElse(port.number()));
        yield wildcard
            ? new Action.ToDialled(to, target, rule, owner.ref())
            : Action.Go.of(to, host.text(), target, rule, owner.ref());
      }
      case DYNAMIC_DNS -> new Action.ByName(to, rule, owner.ref());
      case STATIC, DNS, DNS_ROUND_ROBIN -> {
        List<Target.Endpoint> endpoints = endpoints(host, lead, port.number(), entries);
        yield endpoints.isEmpty()
            ? new Action.CannotReach(to, Refusal.NO_HEALTHY_UPSTREAM, owner.ref())
            : Action.Go.of(to, host.text(), new Target.Endpoints(endpoints), rule, owner.ref());
      }
    };
  }

  /// What about the port is not honoured by this version, as a clause after "because".
  private static Optional<String> notHonoured(
      ServiceEntry lead, ServiceEntry.Port port, List<ServiceEntry> entries, Context context) {
    Optional<String> waypoint = context.waypointLabel(lead);
    if (waypoint.isPresent()) {
      return Optional.of("it is bound to a waypoint by " + waypoint.get());
    }
    if (port.protocol().family() == Protocol.Family.HTTP) {
      return Optional.of("HTTP is not routed by Host yet");
    }
    if (port.protocol() == Protocol.UNSET) {
      return Optional.of("the protocol of port " + port.number() + " is not detected yet");
    }
    if (lead.workloadSelector().isPresent()) {
      return Optional.of("workloadSelector is not honoured yet");
    }
    boolean unix =
        entries.stream()
            .flatMap(e -> e.endpoints().stream())
            .anyMatch(e -> e.place() instanceof ServiceEntry.Place.Unix);
    return unix ? Optional.of("unix:// endpoints are not dialled yet") : Optional.empty();
  }

  private static List<Target.Endpoint> endpoints(
      HostPattern host, ServiceEntry lead, int number, List<ServiceEntry> entries) {
    boolean lookUp = lead.resolution() != ServiceEntry.Resolution.STATIC;
    Set<Target.Endpoint> out = new LinkedHashSet<>();
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
          out.add(new Target.Endpoint.Name(name, target));
        }
        continue;
      }
      for (ServiceEntry.Endpoint endpoint : entry.endpoints()) {
        int dialled = endpoint.ports().getOrDefault(port.get().name(), target);
        switch (endpoint.place()) {
          case ServiceEntry.Place.Ip(var address) ->
              out.add(new Target.Endpoint.Address(new InetSocketAddress(address, dialled)));
          case ServiceEntry.Place.Name(HostName name) -> {
            if (lookUp) {
              out.add(new Target.Endpoint.Name(name, dialled));
            }
          }
          case ServiceEntry.Place.Unix _, ServiceEntry.Place.Elsewhere _ -> {}
        }
      }
    }
    return List.copyOf(out);
  }
}
