package io.tailwater.agent.control.compile;

import io.tailwater.agent.dataplane.route.HostIndex;
import io.tailwater.agent.dataplane.route.KnownName;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/// What captured DNS answers clients with: the exact host before the longest wildcard, as Istio's
/// DNS proxy has it, and its addresses where they tell the service; for hosts that bytes name, how
/// their real addresses are found. Names that are not here are no service's. Immutable; any thread.
final class NameTable {
  /// What Services are named below; the cluster domain of nearly every cluster.
  private static final String DOMAIN = "cluster.local";

  /// A Service may stand for another one, and that for a third.
  private static final int ALIASES = 4;

  private final HostIndex<Known> hosts;

  /// What one host is.
  private sealed interface Known {
    record Answer(KnownName name, boolean kubernetes) implements Known {}

    /// A Service that only stands for another host.
    record Alias(HostName to) implements Known {}

    /// Whatever name was asked for.
    record Itself(AddressRule rule) implements Known {}
  }

  private NameTable(Map<HostPattern, Known> hosts) {
    this.hosts = HostIndex.of(hosts);
  }

  /// @param visible the services that the clients see, oldest first
  /// @param realNames whether allocated addresses are for hosts alone that bytes do not name
  static NameTable of(String clientNamespace, List<Service> visible, boolean realNames) {
    Map<HostPattern, Service> winners = new HashMap<>();
    for (Service service : visible) {
      winners.merge(
          service.host(),
          service,
          (older, younger) -> younger.beats(older, clientNamespace) ? younger : older);
    }
    Map<HostPattern, Known> out = new HashMap<>();
    winners.forEach((host, service) -> out.put(host, known(service, realNames)));
    return new NameTable(out);
  }

  /// As a client of a namespace asks for it: Services also by `name`, `name.namespace` and
  /// `name.namespace.svc`.
  Optional<KnownName> find(HostName name, String clientNamespace) {
    Optional<KnownName> whole = find(name, ALIASES);
    return whole.isPresent() ? whole : byShortName(name, clientNamespace);
  }

  private Optional<KnownName> find(HostName name, int aliases) {
    return switch (hosts.find(name)) {
      case null -> Optional.empty();
      case Known.Answer(KnownName known, _) -> Optional.of(known);
      case Known.Itself(AddressRule rule) ->
          Optional.of(new KnownName.Real(List.of(), List.of(name), rule));
      case Known.Alias(HostName to) -> {
        Optional<KnownName> there = aliases > 0 ? find(to, aliases - 1) : Optional.empty();
        yield there.isPresent()
            ? there
            : Optional.of(new KnownName.Real(List.of(), List.of(to), NEVER_LIST));
      }
    };
  }

  private static final AddressRule NEVER_LIST =
      new AddressRule(AddressRule.Scope.NEVER_LIST, List.of());

  private Optional<KnownName> byShortName(HostName name, String clientNamespace) {
    String text = name.text();
    int dots = (int) text.chars().filter(c -> c == '.').count();
    String whole =
        switch (dots) {
          case 0 -> text + "." + clientNamespace + ".svc." + DOMAIN;
          case 1 -> text + ".svc." + DOMAIN;
          case 2 -> text.endsWith(".svc") ? text + "." + DOMAIN : "";
          default -> "";
        };
    return !whole.isEmpty()
            && HostName.parse(whole) instanceof HostName.Parsed.Valid(HostName host, _)
            && isService(host)
        ? find(host, ALIASES)
        : Optional.empty();
  }

  private boolean isService(HostName host) {
    Known known = hosts.find(host);
    return known instanceof Known.Alias
        || (known instanceof Known.Answer(_, boolean kubernetes) && kubernetes);
  }

  private static Known known(Service service, boolean realNames) {
    if (service.alias().orElse(null) instanceof HostPattern.Exact(HostName to)) {
      return new Known.Alias(to);
    }
    List<InetAddress> telling = addresses(service, realNames);
    if (!telling.isEmpty() || service.kubernetes()) {
      return new Known.Answer(new KnownName.Given(telling), service.kubernetes());
    }
    AddressRule rule = rule(service);
    return service.host() instanceof HostPattern.Exact
        ? real(service, rule)
        : new Known.Itself(rule);
  }

  private static AddressRule rule(Service service) {
    return service.ports().isEmpty()
        ? NEVER_LIST
        : service.ports().getFirst().backend().addressRule();
  }

  /// Where endpoints are listed, theirs are the real addresses.
  private static Known real(Service service, AddressRule rule) {
    Set<InetAddress> addresses = new LinkedHashSet<>();
    Set<HostName> names = new LinkedHashSet<>();
    for (Target.Endpoint endpoint : endpoints(service)) {
      switch (endpoint) {
        case Target.Endpoint.Address(var address, _) -> addresses.add(address.getAddress());
        case Target.Endpoint.Name named -> names.add(named.name());
        case Target.Endpoint.Unix _ -> {}
      }
    }
    return addresses.isEmpty() && names.isEmpty()
        ? new Known.Itself(rule)
        : new Known.Answer(
            new KnownName.Real(List.copyOf(addresses), List.copyOf(names), rule), false);
  }

  private static List<Target.Endpoint> endpoints(Service service) {
    List<Target.Endpoint> out = new ArrayList<>();
    for (Service.Port port : service.ports()) {
      if (port.backend().source() instanceof Backend.Source.Endpoints(var endpoints, _)) {
        endpoints.forEach(labelled -> out.add(labelled.endpoint()));
      }
    }
    return out;
  }

  /// The addresses that tell the service; a Kubernetes Service without any is known by those of its
  /// pods. A block is no answer.
  private static List<InetAddress> addresses(Service service, boolean realNames) {
    List<InetAddress> out = new ArrayList<>();
    Set<InetAddress> left =
        realNames && service.isNamed()
            ? service.ports().stream()
                .flatMap(p -> p.allocated().stream())
                .collect(Collectors.toSet())
            : Set.of();
    for (CidrBlock block : service.addresses()) {
      if (block.isSingle() && !left.contains(block.network())) {
        out.add(block.network());
      }
    }
    if (out.isEmpty() && service.kubernetes()) {
      for (Target.Endpoint endpoint : endpoints(service)) {
        if (endpoint instanceof Target.Endpoint.Address(var address, _)) {
          out.add(address.getAddress());
        }
      }
    }
    return out.stream().distinct().toList();
  }
}
