package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.DestinationRule;
import io.tailwater.agent.control.istio.HostScope;
import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.control.istio.VirtualService;
import io.tailwater.agent.dataplane.route.Action;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Explanation;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/// What DestinationRules and VirtualServices make of services for one client: its namespace, its
/// Sidecar's imports and those of its labels that rules ask for (Istio
/// `pilot/pkg/networking/core/tls.go`, `route/route.go`). One thread, while a view is built.
final class ClientRouting implements ClientRules {
  /// The port on which Istio routes HTTP to hosts that no service has.
  private static final int HTTP_PORT = 80;

  private final RoutingRules rules;
  private final String namespace;
  private final Predicate<Map<String, String>> selected;
  private final VirtualServices routes;
  private final NotYetHonoured rest;

  /// @param selecting the labels that rules select by and the client has
  /// @param imported whether the client's Sidecar imports a VirtualService
  /// @param rest what could not be read
  ClientRouting(
      RoutingRules rules,
      String namespace,
      Set<Map<String, String>> selecting,
      Predicate<VirtualService> imported,
      NotYetHonoured rest) {
    this.rules = rules;
    this.namespace = namespace;
    this.selected = labels -> labels.isEmpty() || selecting.contains(labels);
    this.routes =
        rules
            .routes()
            .only(one -> one.visibility().covers(namespace) && imported.test(one.service()));
    this.rest = rest;
  }

  @Override
  public Optional<ResourceRef> notHonoured(Service service) {
    return rest.governs(namespace, service);
  }

  /// What has a say in how the client reaches a port of a service, for people.
  List<Explanation.Applied> applied(Service service, int port) {
    return rule(service).stream()
        .map(rule -> new Explanation.Applied(rule.ref(), rule.host().show(), sets(rule, port)))
        .toList();
  }

  private static String sets(DestinationRules.Merged rule, int port) {
    List<String> what = new ArrayList<>();
    DestinationRule.Settings settings =
        rule.policy().map(p -> p.of(port)).orElse(DestinationRule.Settings.NONE);
    settings.tls().ifPresent(_ -> what.add("tls"));
    settings.pool().ifPresent(_ -> what.add("connectionPool"));
    settings.balancer().ifPresent(_ -> what.add("loadBalancer"));
    settings.outlier().ifPresent(_ -> what.add("outlierDetection"));
    String subsets = String.join(", ", rule.subsets().keySet().stream().sorted().toList());
    return (what.isEmpty() ? "sets nothing for port " + port : "sets " + String.join(", ", what))
        + (subsets.isEmpty() ? "" : "; has the subsets " + subsets);
  }

  /// The VirtualServices that may route what goes to a service, for people.
  List<Explanation.Applied> routing(Service service) {
    List<Explanation.Applied> out = new ArrayList<>();
    for (VirtualService virtual : routes.about(service.host())) {
      List<String> kinds = new ArrayList<>();
      if (!virtual.http().isEmpty()) {
        kinds.add("http");
      }
      if (!virtual.tls().isEmpty()) {
        kinds.add("tls");
      }
      if (!virtual.tcp().isEmpty()) {
        kinds.add("tcp");
      }
      out.add(
          new Explanation.Applied(
              virtual.ref(),
              String.join(", ", virtual.hosts().stream().map(HostScope::show).toList()),
              "has " + String.join(" and ", kinds) + " routes for it"));
    }
    return out;
  }

  // ---- DestinationRules --------------------------------------------------------------------

  private Optional<DestinationRules.Merged> rule(Service service) {
    return rules.destinations().find(namespace, selected, service.namespace(), service.host());
  }

  @Override
  public Reach reach(Service service, Service.Port port, Optional<String> subset) {
    Optional<DestinationRules.Merged> rule = rule(service);
    if (rule.isEmpty()) {
      return Reach.PLAIN;
    }
    Optional<DestinationRule.Subset> chosen =
        subset.flatMap(name -> Optional.ofNullable(rule.get().subsets().get(name)));
    if (TrafficPolicies.cannot(rule.get(), chosen).isPresent()) {
      return new Reach.Not(rule.get().ref());
    }
    Backend.Source source = port.backend().source();
    ConnectionPolicy policy =
        TrafficPolicies.compose(
            rule.get(),
            chosen,
            new TrafficPolicies.Of(
                service.host().text(),
                port.number(),
                port.protocol().family(),
                source instanceof Backend.Source.ByName,
                source instanceof Backend.Source.Dialled,
                rules.serverNames(service)));
    return policy.equals(ConnectionPolicy.DEFAULT) ? Reach.PLAIN : new Reach.By(policy);
  }

  @Override
  public Optional<Backend.Subset> subset(Service service, String name) {
    return rule(service)
        .flatMap(r -> Optional.ofNullable(r.subsets().get(name)))
        .map(s -> new Backend.Subset(s.name(), s.labels()));
  }

  // ---- VirtualServices ---------------------------------------------------------------------

  @Override
  public Routes routes(Service service, Service.Port port, Action own, Destinations destinations) {
    List<VirtualService> about = routes.about(service.host());
    if (about.isEmpty()) {
      return Routes.NONE;
    }
    Leads leads = new Leads(port.number(), destinations);
    return switch (port.protocol().family()) {
      case TLS -> tls(about, service, port.number(), own, leads);
      case TCP -> new Routes(Map.of(), false, tcp(about, port.number(), own, leads), Map.of());
      case HTTP ->
          new Routes(Map.of(), false, Optional.empty(), http(about, service, port.number(), leads));
      case UNSET ->
          new Routes(
              Map.of(),
              false,
              tcp(about, port.number(), own, leads),
              http(about, service, port.number(), leads));
      case UDP -> Routes.NONE;
    };
  }

  /// Where the routes of one port lead.
  private record Leads(int port, Destinations destinations) {
    /// To one destination, or to several by weight; those without weight are left out.
    Action to(List<VirtualService.Weighted> all, ResourceRef by) {
      return to(all, by, VirtualService.HeaderChanges.NONE, Optional.empty());
    }

    /// @param policy what is done to requests, where each destination does its own
    Action to(
        List<VirtualService.Weighted> all,
        ResourceRef by,
        VirtualService.HeaderChanges headers,
        Optional<HttpRoutes.Made> policy) {
      if (all.size() == 1) {
        return one(all.getFirst(), by, headers, policy);
      }
      List<Action.Choice> choices = new ArrayList<>();
      for (VirtualService.Weighted weighted : all) {
        if (weighted.weight() > 0) {
          choices.add(new Action.Choice(weighted.weight(), one(weighted, by, headers, policy)));
        }
      }
      return choices.size() == 1 ? choices.getFirst().action() : new Action.Split(choices, by);
    }

    private Action one(
        VirtualService.Weighted weighted,
        ResourceRef by,
        VirtualService.HeaderChanges headers,
        Optional<HttpRoutes.Made> policy) {
      VirtualService.Destination to = weighted.destination();
      Action action = destinations.to(to.host(), to.port(), port, to.subset(), by);
      return policy
          .<Action>map(made ->
              new Action.Cases(
                  List.of(
                      new Action.Case(
                          Action.Condition.ALWAYS, action, made.with(headers, weighted.headers()))),
                  Optional.empty(),
                  by))
          .orElse(action);
    }
  }

  private boolean holds(VirtualService.Source source, int port) {
    return source.holds(port, namespace, selected);
  }

  /// Whether the dialled address is in one of the blocks.
  private record InSubnets(List<CidrBlock> blocks) implements Action.Condition {
    @Override
    public boolean holds(
        OriginalDst dst, io.tailwater.agent.dataplane.route.@Nullable Request request) {
      return blocks.stream().anyMatch(b -> b.contains(dst.address()));
    }
  }

  private record Chain(List<CidrBlock> subnets, Action action) {}

  /// By SNI: of equal conditions the first one holds, and what asks for an address comes before
  /// what does not. Rules take the place of a named service's own destination; a wildcard keeps its
  /// other names.
  private Routes tls(
      List<VirtualService> about, Service service, int port, Action own, Leads leads) {
    Map<HostPattern, List<Chain>> chains = new LinkedHashMap<>();
    for (VirtualService virtual : about) {
      for (VirtualService.Tls route : virtual.tls()) {
        for (VirtualService.TlsMatch match : route.match()) {
          if (!holds(match.source(), port)) {
            continue;
          }
          Action action = leads.to(route.route(), virtual.ref());
          for (HostScope sni : match.sniHosts()) {
            HostPattern name = sni.pattern().orElseThrow();
            List<Chain> same = chains.computeIfAbsent(name, _ -> new ArrayList<>(1));
            if (same.stream().noneMatch(c -> c.subnets.equals(match.subnets()))) {
              same.add(new Chain(match.subnets(), action));
            }
          }
        }
      }
    }
    if (chains.isEmpty()) {
      return Routes.NONE;
    }
    boolean replaces = service.host() instanceof HostPattern.Exact;
    List<HostPattern> wideFirst =
        chains.keySet().stream()
            .sorted((a, b) -> HostScope.SPECIFICITY.compare(HostScope.of(b), HostScope.of(a)))
            .toList();
    Map<HostPattern, Action> out = new LinkedHashMap<>();
    for (HostPattern name : wideFirst) {
      out.put(
          name,
          bySubnet(
              chains.getOrDefault(name, List.of()),
              wider(name, out, replaces ? Optional.empty() : Optional.of(service), own)));
    }
    return new Routes(out, replaces, Optional.empty(), Map.of());
  }

  /// What takes a name that none of its own chains takes.
  private static Optional<Action> wider(
      HostPattern name, Map<HostPattern, Action> made, Optional<Service> service, Action own) {
    HostScope names = HostScope.of(name);
    Optional<HostPattern> found =
        made.keySet().stream()
            .filter(other -> HostScope.of(other).contains(names))
            .min((a, b) -> HostScope.SPECIFICITY.compare(HostScope.of(a), HostScope.of(b)));
    if (found.isPresent()) {
      return Optional.ofNullable(made.get(found.get()));
    }
    return service.filter(s -> HostScope.of(s.host()).contains(names)).map(_ -> own);
  }

  private static Action bySubnet(List<Chain> chains, Optional<Action> otherwise) {
    Optional<Action> everywhere =
        chains.stream().filter(c -> c.subnets.isEmpty()).map(Chain::action).findFirst();
    List<Action.Case> cases =
        chains.stream()
            .filter(c -> !c.subnets.isEmpty())
            .map(c -> new Action.Case(new InSubnets(c.subnets), c.action))
            .toList();
    if (cases.isEmpty()) {
      return everywhere.orElseThrow();
    }
    return new Action.Cases(
        cases, everywhere.or(() -> otherwise), chains.getFirst().action.resource());
  }

  /// In order, up to the first route that takes every address; without one the service's own
  /// destination takes what is left.
  private Optional<Action> tcp(List<VirtualService> about, int port, Action own, Leads leads) {
    List<Action.Case> cases = new ArrayList<>();
    for (VirtualService virtual : about) {
      for (VirtualService.Tcp route : virtual.tcp()) {
        boolean all = route.match().isEmpty();
        List<CidrBlock> subnets = new ArrayList<>();
        for (VirtualService.TcpMatch match : route.match()) {
          if (holds(match.source(), port)) {
            all |= match.subnets().isEmpty();
            subnets.addAll(match.subnets());
          }
        }
        if (all) {
          Action action = leads.to(route.route(), virtual.ref());
          return Optional.of(
              cases.isEmpty()
                  ? action
                  : new Action.Cases(cases, Optional.of(action), virtual.ref()));
        }
        if (!subnets.isEmpty()) {
          cases.add(
              new Action.Case(
                  new InSubnets(List.copyOf(subnets)), leads.to(route.route(), virtual.ref())));
        }
      }
    }
    return cases.isEmpty()
        ? Optional.empty()
        : Optional.of(new Action.Cases(cases, Optional.of(own), own.resource()));
  }

  // ---- http --------------------------------------------------------------------------------

  private record Candidate(HostScope written, VirtualService service) {}

  /// By Host: a VirtualService has the names that it has in common with the service. For one name
  /// the most specific host decides, then the oldest; who has no route for the client is passed
  /// over.
  private Map<HostPattern, Action> http(
      List<VirtualService> about, Service service, int port, Leads leads) {
    HostScope own = HostScope.of(service.host());
    Map<HostPattern, List<Candidate>> candidates = new LinkedHashMap<>();
    for (VirtualService virtual : about) {
      for (HostScope host : virtual.hosts()) {
        if (host.overlaps(own)) {
          HostScope common = own.contains(host) ? host : own;
          common
              .pattern()
              .ifPresent(domain ->
                  candidates
                      .computeIfAbsent(domain, _ -> new ArrayList<>(1))
                      .add(new Candidate(host, virtual)));
        }
      }
    }
    return decided(candidates, port, leads);
  }

  private Map<HostPattern, Action> decided(
      Map<HostPattern, List<Candidate>> candidates, int port, Leads leads) {
    Map<HostPattern, Action> out = new HashMap<>();
    candidates.forEach((domain, of) ->
        // Sorting is stable: the older stays before the younger.
        of.stream()
            .sorted((a, b) -> HostScope.SPECIFICITY.compare(a.written, b.written))
            .map(c -> action(c.service, port, leads))
            .flatMap(Optional::stream)
            .findFirst()
            .ifPresent(action -> out.put(domain, action)));
    return out;
  }

  private Optional<Action> action(VirtualService virtual, int port, Leads leads) {
    return HttpRoutes.action(
        virtual,
        source -> holds(source, port),
        (route, made) -> leads.to(route.route(), virtual.ref(), route.headers(), made));
  }

  @Override
  public Map<HostPattern, Action> withoutService(
      int port, List<Service> services, Destinations destinations) {
    if (port != HTTP_PORT) {
      return Map.of();
    }
    Set<HostScope> taken = new HashSet<>();
    for (Service service : services) {
      boolean http =
          service
              .port(port)
              .map(p ->
                  p.protocol().family() == Protocol.Family.HTTP || p.protocol() == Protocol.UNSET)
              .orElse(false);
      if (http) {
        taken.add(HostScope.of(service.host()));
      }
    }
    Map<HostPattern, List<Candidate>> candidates = new LinkedHashMap<>();
    for (VirtualServices.Ranked one : routes.all()) {
      for (HostScope host : one.service().hosts()) {
        if (!one.service().http().isEmpty() && taken.stream().noneMatch(host::overlaps)) {
          host.pattern()
              .ifPresent(domain ->
                  candidates
                      .computeIfAbsent(domain, _ -> new ArrayList<>(1))
                      .add(new Candidate(host, one.service())));
        }
      }
    }
    return decided(candidates, port, new Leads(port, destinations));
  }
}
