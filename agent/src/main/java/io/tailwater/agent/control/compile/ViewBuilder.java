package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.dataplane.route.Action;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.DestinationPolicy;
import io.tailwater.agent.dataplane.route.Listener;
import io.tailwater.agent.dataplane.route.PortPolicy;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Lays the services that a client sees out as listeners, as Istio's sidecar does: by port, then by
/// the most specific address, then by name. The older one keeps what two would have. One use, one
/// thread.
final class ViewBuilder {
  /// What a view is made of.
  ///
  /// @param namespace the client's
  /// @param visible the services that it sees, oldest first
  /// @param allocated whether DNS answers the client with allocated addresses, so that they name
  ///   services
  /// @param gateway the Gateway whose pod the client is as `namespace/name`; what it carries on is
  ///   not sent to it again. Empty for all others
  record Client(
      String namespace,
      List<Service> visible,
      ClientRules rules,
      boolean allocated,
      KnownWorkloads workloads,
      String gateway) {
    Client {
      visible = List.copyOf(visible);
    }
  }

  /// One port of all addresses.
  private static final class PortRules {
    final Map<InetAddress, Listener.Builder> addresses = new LinkedHashMap<>();
    final Map<InetAddress, Listener.Builder> allocated = new LinkedHashMap<>();

    /// Allocated addresses whose servers speak first, so that no name is awaited there.
    final Map<InetAddress, Listener.Builder> allocatedServerFirst = new LinkedHashMap<>();

    final Map<CidrBlock, Listener.Builder> blocks = new LinkedHashMap<>();

    /// HTTP of Kubernetes Services by Host; it does not hold where a workload is dialled.
    final Map<HostPattern, Action> serviceHosts = new LinkedHashMap<>();

    final Map<InetAddress, Action> serviceAddresses = new LinkedHashMap<>();
    Listener.@Nullable Builder everywhere;
    private boolean sniffs;
    private boolean serverFirst;

    Listener.Builder everywhere() {
      Listener.Builder listener = everywhere == null ? new Listener.Builder() : everywhere;
      everywhere = listener;
      return listener;
    }

    /// Whether the protocol may share the port with what is there: where the client's first bytes
    /// are awaited, a server that speaks first cannot be, and the older one stays.
    boolean admits(Protocol protocol) {
      boolean speaksFirst = protocol == Protocol.MYSQL || protocol == Protocol.MONGO;
      if (speaksFirst ? sniffs : serverFirst && protocol.family() != Protocol.Family.TCP) {
        return false;
      }
      serverFirst |= speaksFirst;
      sniffs |= protocol.family() != Protocol.Family.TCP;
      return true;
    }

    PortPolicy build() {
      Optional<Listener> entries = Optional.ofNullable(everywhere).map(Listener.Builder::build);
      Optional<Listener> all =
          serviceHosts.isEmpty()
              ? entries
              : Optional.of(
                  Objects.requireNonNullElseGet(everywhere, Listener.Builder::new)
                      .withHosts(serviceHosts, serviceAddresses)
                      .build());
      Map<InetAddress, Listener> byAddress = new HashMap<>();
      addresses.forEach((a, builder) -> byAddress.put(a, builder.build()));
      allocatedServerFirst.forEach((a, builder) -> byAddress.putIfAbsent(a, builder.build()));
      allocated.forEach((a, builder) ->
          byAddress.putIfAbsent(
              a, all.isPresent() ? builder.buildBehind(all.get()) : builder.build()));
      List<PortPolicy.Block> byBlock = new ArrayList<>();
      blocks.forEach((b, builder) -> byBlock.add(new PortPolicy.Block(b, builder.build())));
      return new PortPolicy(byAddress, byBlock, all, entries);
    }
  }

  private final Map<Integer, PortRules> ports = new HashMap<>();
  private final Map<InetAddress, Map<Integer, Listener>> vips = new HashMap<>();
  private final Client client;
  private final Map<HostPattern, Service> winners = new HashMap<>();

  private ViewBuilder(Client client) {
    this.client = client;
    for (Service service : client.visible()) {
      winners.merge(
          service.host(),
          service,
          (older, younger) -> younger.beats(older, client.namespace()) ? younger : older);
    }
  }

  static DestinationPolicy build(Client client) {
    return new ViewBuilder(client).build();
  }

  /// What is done for a service that the client sees; `cluster_not_found` where it sees none.
  ///
  /// @param by the resource that names it
  static Action to(Client client, String host, int port, Optional<String> subset, ResourceRef by) {
    return new ViewBuilder(client).destination(host, Optional.of(port), port, subset, by);
  }

  private DestinationPolicy build() {
    List<Service> services = client.visible().stream().filter(this::wins).toList();
    for (Service service : services) {
      for (Service.Port port : service.ports()) {
        if (service.alias().isPresent()) {
          alias(service, port, service.alias().get());
        } else {
          add(service, port);
        }
      }
    }
    withoutService(services);
    Map<Integer, PortPolicy> policies = new HashMap<>();
    ports.forEach((number, rules) -> policies.put(number, rules.build()));
    Map<InetAddress, Service> owners = owners(services);
    Map<InetAddress, DestinationPolicy.Vip> byVip = new HashMap<>();
    owners.forEach((address, service) -> {
      if (service.kubernetes()) {
        byVip.put(
            address,
            new DestinationPolicy.Vip(vips.getOrDefault(address, Map.of()), withoutPort(service)));
      }
    });
    return new DestinationPolicy(
        policies, before(services, owners), byVip, client.workloads().known());
  }

  /// Routes for hosts that no service has, where HTTP is listened for.
  private void withoutService(List<Service> services) {
    ports.forEach((number, rules) -> {
      boolean http =
          !rules.serviceHosts.isEmpty()
              || (rules.everywhere != null && rules.everywhere.speaksHttp());
      if (http) {
        client
            .rules()
            .withoutService(number, services, this::destination)
            .forEach(rules.everywhere()::http);
      }
    });
  }

  /// Whether a service has its host for the client. Entries of one namespace are one service.
  private boolean wins(Service service) {
    @Nullable Service winner = winners.get(service.host());
    return winner == null
        || (winner.kubernetes() == service.kubernetes()
            && winner.namespace().equals(service.namespace()));
  }

  /// Who has an address: of several services the client's own, else a Kubernetes Service, else the
  /// oldest.
  private Map<InetAddress, Service> owners(List<Service> services) {
    Map<InetAddress, Service> out = new HashMap<>();
    for (Service service : services) {
      for (CidrBlock block : service.addresses()) {
        if (block.isSingle()) {
          out.merge(
              block.network(),
              service,
              (older, younger) -> younger.beats(older, client.namespace()) ? younger : older);
        }
      }
    }
    return out;
  }

  private static Listener withoutPort(Service service) {
    Listener.Builder listener = new Listener.Builder();
    listener.rest(
        new Action.CannotReach(
            new Decision.Refuse(
                Refusal.NO_HEALTHY_UPSTREAM,
                Optional.empty(),
                Optional.of(service.ref()),
                Optional.of(service.namespace() + "/" + service.host().text())),
            service.ref()));
    return listener.build();
  }

  /// What is bound to a waypoint is told by its address on every port.
  private DestinationPolicy.AnyPort before(
      List<Service> services, Map<InetAddress, Service> owners) {
    Map<InetAddress, Action> addresses = new HashMap<>();
    client
        .workloads()
        .bound()
        .forEach((address, action) -> {
          if (!isMine(action)) {
            addresses.put(address, action);
          }
        });
    owners.forEach((address, service) ->
        bound(service)
            .ifPresentOrElse(
                action -> addresses.put(address, action), () -> addresses.remove(address)));
    List<DestinationPolicy.AnyPort.Block> blocks = new ArrayList<>();
    for (Service service : services) {
      for (CidrBlock block : service.addresses()) {
        if (!block.isSingle()) {
          bound(service)
              .ifPresent(action -> blocks.add(new DestinationPolicy.AnyPort.Block(block, action)));
        }
      }
    }
    return new DestinationPolicy.AnyPort(addresses, blocks);
  }

  /// What the service's waypoint makes of it, unless the client is that waypoint.
  private Optional<Action> bound(Service service) {
    return service.bound().filter(action -> !isMine(action));
  }

  private boolean isMine(Action action) {
    return action instanceof Action.ToWaypoint(Decision.ToWaypoint to)
        && to.waypoint().equals(client.gateway());
  }

  private void add(Service service, Service.Port port) {
    Optional<Action> bound = bound(service);
    Action own = bound.orElseGet(() -> under(service, port, Optional.empty(), Optional.empty()));
    ClientRules.Routes routes =
        bound.isPresent()
            ? ClientRules.Routes.NONE
            : client.rules().routes(service, port, own, this::destination);
    PortRules rules = ports.computeIfAbsent(port.number(), _ -> new PortRules());
    bound.ifPresent(action -> byNameAnywhere(rules, service, port, action));
    if (service.kubernetes()) {
      kubernetes(rules, service, port, routes, own);
      return;
    }
    switch (port.protocol().family()) {
      case HTTP -> http(rules, service, port, routes, own);
      case TLS -> tls(rules, service, port, routes, own);
      case TCP -> tcp(rules, port, routes.rest().orElse(own));
      case UNSET -> {
        if (port.everywhere()) {
          http(rules, service, port, routes, own);
        }
        @Nullable Action byHost = routes.http().get(service.host());
        for (CidrBlock block : port.addresses()) {
          if (byHost != null && block.isSingle()) {
            at(rules.addresses, block.network()).anyHttp(byHost);
          }
        }
        tcp(rules, port, routes.rest().orElse(own));
      }
      case UDP -> {}
    }
  }

  /// What is bound to a waypoint is told by its name whatever address was dialled, also where
  /// without a waypoint its addresses alone would tell it: nothing slips past.
  private static void byNameAnywhere(
      PortRules rules, Service service, Service.Port port, Action bound) {
    Protocol.Family family = port.protocol().family();
    boolean detected = family == Protocol.Family.UNSET && !service.kubernetes();
    if ((family == Protocol.Family.TLS || detected) && rules.admits(port.protocol())) {
      rules.everywhere().tls(service.host(), bound);
      if (detected) {
        rules.everywhere().http(service.host(), bound);
      }
    }
  }

  /// A Kubernetes Service is told by its VIP, whatever the client says there; only where rules want
  /// to see requests they are looked at. HTTP finds it by Host at other addresses too.
  private void kubernetes(
      PortRules rules, Service service, Service.Port port, ClientRules.Routes routes, Action own) {
    boolean http = port.protocol().family() == Protocol.Family.HTTP;
    Action byHost = routes.http().getOrDefault(service.host(), own);
    for (CidrBlock address : port.addresses()) {
      Listener.Builder at = new Listener.Builder();
      routes.tls().forEach(at::tls);
      if (http && (!routes.http().isEmpty() || !own.equals(port.backend().plain()))) {
        at.anyHttp(ofFamily(byHost, address.network()));
      }
      at.rest(ofFamily(routes.rest().orElse(own), address.network()));
      vips.computeIfAbsent(address.network(), _ -> new HashMap<>())
          .putIfAbsent(port.number(), at.build());
    }
    if (http && rules.admits(port.protocol())) {
      routes.http().forEach(rules.serviceHosts::putIfAbsent);
      for (HostPattern name : names(service)) {
        rules.serviceHosts.putIfAbsent(name, byHost);
      }
      port.addresses().forEach(a -> rules.serviceAddresses.putIfAbsent(a.network(), byHost));
    }
  }

  /// A VIP leads to endpoints of its own family, as kube-proxy has it, where there are any.
  private static Action ofFamily(Action action, InetAddress vip) {
    if (!(action instanceof Action.Go(Decision.Forward enforced, Decision.Forward audited))
        || !(enforced.target() instanceof Target.Endpoints(var all, boolean oneAddress))) {
      return action;
    }
    List<Target.Endpoint> alike =
        all.stream()
            .filter(e ->
                !(e instanceof Target.Endpoint.Address(InetSocketAddress at, _))
                    || at.getAddress().getClass() == vip.getClass())
            .toList();
    if (alike.isEmpty() || alike.size() == all.size()) {
      return action;
    }
    Target target = new Target.Endpoints(alike, oneAddress);
    return new Action.Go(enforced.to(target), audited.to(target));
  }

  /// `web.shop.svc.cluster.local`, `web.shop.svc` and `web.shop`; `web` alone is completed by the
  /// view, for it means another service in each namespace.
  private static List<HostPattern> names(Service service) {
    String full = service.host().text();
    List<HostPattern> out = new ArrayList<>();
    out.add(service.host());
    int end = full.length() - ".cluster.local".length();
    out.add(new HostPattern.Exact(HostName.of(full.substring(0, end))));
    out.add(new HostPattern.Exact(HostName.of(full.substring(0, end - ".svc".length()))));
    return out;
  }

  /// A Service that only stands for another host is that host's service, by Host; where no service
  /// of that host and port is visible it is nothing.
  private void alias(Service service, Service.Port port, HostPattern target) {
    @Nullable Service real = winners.get(target);
    for (int i = 0; i < MOST_ALIASES && real != null && real.alias().isPresent(); i++) {
      real = winners.get(real.alias().get());
    }
    if (real == null || real.alias().isPresent()) {
      return;
    }
    Optional<Service.Port> behind = real.port(port.number());
    if (behind.isPresent() && behind.get().protocol().family() == Protocol.Family.HTTP) {
      Service of = real;
      Action action =
          bound(of).orElseGet(() -> under(of, behind.get(), Optional.empty(), Optional.empty()));
      PortRules rules = ports.computeIfAbsent(port.number(), _ -> new PortRules());
      if (rules.admits(behind.get().protocol())) {
        names(service).forEach(name -> rules.serviceHosts.putIfAbsent(name, action));
      }
    }
  }

  private static final int MOST_ALIASES = 8;

  /// What is done for a service or one of its subsets, under the client's rules.
  ///
  /// @param by the resource whose route leads there
  private Action under(
      Service service,
      Service.Port port,
      Optional<Backend.Subset> subset,
      Optional<ResourceRef> by) {
    Backend backend = port.backend();
    Optional<ResourceRef> unreadable = client.rules().notHonoured(service);
    if (unreadable.isPresent()) {
      return new Action.NotHonoured(
          backend.cluster(subset),
          unreadable.get().kind() + " could not be read",
          unreadable.get());
    }
    return switch (client.rules().reach(service, port, subset.map(Backend.Subset::name))) {
      case ClientRules.Reach.By(ConnectionPolicy policy) ->
          by.map(route -> backend.routed(policy, subset, route))
              .orElseGet(() -> backend.under(policy, subset));
      case ClientRules.Reach.Not(ResourceRef rule) ->
          Action.CannotReach.of(
              new Decision.Destination(
                  backend.cluster(subset),
                  service.host().text(),
                  service.namespace(),
                  port.number()),
              Refusal.NOT_SUPPORTED_YET,
              rule);
    };
  }

  /// What is done for a destination of a route.
  private Action destination(
      String host, Optional<Integer> port, int dialled, Optional<String> subset, ResourceRef by) {
    Optional<Service> service = pattern(host).flatMap(h -> Optional.ofNullable(winners.get(h)));
    int number =
        port.or(() ->
                service.filter(s -> s.ports().size() == 1).map(s -> s.ports().getFirst().number()))
            .orElse(dialled);
    Optional<Service.Port> found = service.flatMap(s -> s.port(number));
    Optional<Backend.Subset> chosen =
        service.flatMap(s -> subset.flatMap(name -> client.rules().subset(s, name)));
    if (found.isEmpty() || (subset.isPresent() && chosen.isEmpty())) {
      return Action.CannotReach.of(
          new Decision.Destination(
              Backend.cluster(number, subset.orElse(""), host), host, by.namespace(), number),
          Refusal.CLUSTER_NOT_FOUND,
          by);
    }
    return bound(service.get())
        .orElseGet(() -> under(service.get(), found.get(), chosen, Optional.of(by)));
  }

  private static Optional<HostPattern> pattern(String host) {
    boolean wildcard = host.startsWith("*.");
    return HostName.parse(wildcard ? host.substring(2) : host)
            instanceof HostName.Parsed.Valid(HostName name, _)
        ? Optional.of(wildcard ? new HostPattern.Wildcard(name) : new HostPattern.Exact(name))
        : Optional.empty();
  }

  /// HTTP is found by Host at every address; the service's addresses are further Hosts. Under a
  /// wildcard that goes by name, an address names nothing.
  private void http(
      PortRules rules, Service service, Service.Port port, ClientRules.Routes routes, Action own) {
    if (!rules.admits(port.protocol())) {
      return;
    }
    Listener.Builder listener = rules.everywhere();
    routes.http().forEach(listener::http);
    listener.http(service.host(), own);
    if (port.backend().source() instanceof Backend.Source.ByName) {
      return;
    }
    Action byAddress = routes.http().getOrDefault(service.host(), own);
    for (CidrBlock block : port.addresses()) {
      if (block.isSingle()) {
        listener.http(block.network(), byAddress);
      }
    }
    if (client.allocated()) {
      port.allocated().forEach(a -> listener.http(a, byAddress));
    }
  }

  /// An address that a user wrote binds the service to it and stands for its name; a block only
  /// narrows. An allocated one is one more way to say the name, unless the name decides.
  private void tls(
      PortRules rules, Service service, Service.Port port, ClientRules.Routes routes, Action own) {
    if (port.everywhere() && rules.admits(port.protocol())) {
      routes.tls().forEach(rules.everywhere()::tls);
      if (!routes.onlyTls()) {
        rules.everywhere().tls(service.host(), own);
      }
      boolean named = port.backend().source() instanceof Backend.Source.ByName;
      if (client.allocated() && !named && !routes.onlyTls()) {
        for (InetAddress address : port.allocated()) {
          at(rules.allocated, address).anyTls(own);
        }
      }
    }
    for (CidrBlock block : port.addresses()) {
      if (block.isSingle()) {
        Listener.Builder at = at(rules.addresses, block.network());
        routes.tls().forEach(at::tls);
        if (!routes.onlyTls()) {
          at.anyTls(own);
        }
      } else if (rules.admits(port.protocol())) {
        Listener.Builder at = at(rules.blocks, block);
        routes.tls().forEach(at::tls);
        if (!routes.onlyTls()) {
          at.tls(service.host(), own);
        }
      }
    }
  }

  /// Bytes without a name are told apart by their address, an allocated one too; without any, by
  /// the port alone.
  private void tcp(PortRules rules, Service.Port port, Action action) {
    boolean allocated = client.allocated() && !port.allocated().isEmpty();
    if (port.everywhere() && allocated) {
      boolean speaksFirst = port.protocol() == Protocol.MYSQL || port.protocol() == Protocol.MONGO;
      for (InetAddress address : port.allocated()) {
        at(speaksFirst ? rules.allocatedServerFirst : rules.allocated, address).rest(action);
      }
    } else if (port.everywhere() && rules.admits(port.protocol())) {
      rules.everywhere().rest(action);
    }
    for (CidrBlock block : port.addresses()) {
      if (block.isSingle()) {
        at(rules.addresses, block.network()).rest(action);
      } else if (rules.admits(port.protocol())) {
        at(rules.blocks, block).rest(action);
      }
    }
  }

  private static <K> Listener.Builder at(Map<K, Listener.Builder> listeners, K key) {
    return listeners.computeIfAbsent(key, _ -> new Listener.Builder());
  }
}
