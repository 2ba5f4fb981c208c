package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.dataplane.route.Action;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.DestinationPolicy;
import io.tailwater.agent.dataplane.route.Listener;
import io.tailwater.agent.dataplane.route.PortPolicy;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
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
  record Client(String namespace, List<Service> visible, ClientRules rules, boolean allocated) {
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
      Optional<Listener> all = Optional.ofNullable(everywhere).map(Listener.Builder::build);
      Map<InetAddress, Listener> byAddress = new HashMap<>();
      addresses.forEach((a, builder) -> byAddress.put(a, builder.build()));
      allocatedServerFirst.forEach((a, builder) -> byAddress.putIfAbsent(a, builder.build()));
      allocated.forEach((a, builder) ->
          byAddress.putIfAbsent(
              a, all.isPresent() ? builder.buildBehind(all.get()) : builder.build()));
      List<PortPolicy.Block> byBlock = new ArrayList<>();
      blocks.forEach((b, builder) -> byBlock.add(new PortPolicy.Block(b, builder.build())));
      return new PortPolicy(byAddress, byBlock, all);
    }
  }

  private record HostPort(HostPattern host, int port) {}

  private final Map<Integer, PortRules> ports = new HashMap<>();
  private final Client client;
  private final Map<HostPort, Service> winners;

  private ViewBuilder(Client client) {
    this.client = client;
    this.winners = winners(client);
  }

  /// @param addresses what takes an address on every port
  static DestinationPolicy build(Client client, Map<InetAddress, ResourceRef> addresses) {
    ViewBuilder builder = new ViewBuilder(client);
    for (Service service : client.visible()) {
      for (Service.Port port : service.ports()) {
        Service winner =
            builder.winners.getOrDefault(new HostPort(service.host(), port.number()), service);
        if (winner.namespace().equals(service.namespace())) {
          builder.add(service, port);
        }
      }
    }
    Map<Integer, PortPolicy> policies = new HashMap<>();
    builder.ports.forEach((number, rules) -> policies.put(number, rules.build()));
    Map<InetAddress, Action> byAddress = new HashMap<>();
    addresses.forEach((address, ref) ->
        byAddress.put(
            address,
            new Action.NotHonoured(Decision.BLACK_HOLE, ref.kind() + " is not honoured yet", ref)));
    return new DestinationPolicy(
        policies,
        new DestinationPolicy.AnyPort(byAddress, List.of()),
        DestinationPolicy.AnyPort.NONE);
  }

  /// Who has a host and port: the client's own namespace, else the oldest.
  private static Map<HostPort, Service> winners(Client client) {
    Map<HostPort, Service> out = new HashMap<>(client.visible().size() * 2);
    for (Service service : client.visible()) {
      for (Service.Port port : service.ports()) {
        out.merge(
            new HostPort(service.host(), port.number()),
            service,
            (older, younger) ->
                !older.namespace().equals(client.namespace())
                        && younger.namespace().equals(client.namespace())
                    ? younger
                    : older);
      }
    }
    return out;
  }

  private void add(Service service, Service.Port port) {
    ClientRules.Routes routes = client.rules().routes(service, port, this::destination);
    Action own = own(service, port);
    PortRules rules = ports.computeIfAbsent(port.number(), _ -> new PortRules());
    switch (port.protocol().family()) {
      case HTTP -> http(rules, service, port, routes, own);
      case TLS -> tls(rules, service, port, routes, own);
      case TCP -> tcp(rules, port, routes.rest().orElse(own));
      case UNSET -> {
        if (port.everywhere()) {
          http(rules, service, port, routes, own);
        }
        tcp(rules, port, routes.rest().orElse(own));
      }
      case UDP -> {}
    }
  }

  /// What is done for the service itself, under the client's rules.
  private Action own(Service service, Service.Port port) {
    return client
        .rules()
        .notHonoured(service)
        .<Action>map(ref ->
            new Action.NotHonoured(
                port.backend().cluster(Optional.empty()), ref.kind() + " is not honoured yet", ref))
        .orElseGet(() ->
            port.backend()
                .under(
                    client.rules().policy(service, port.number(), Optional.empty()),
                    Optional.empty()));
  }

  /// What is done for a destination of a route.
  private Action destination(String host, int port, Optional<String> subset, ResourceRef by) {
    Optional<Service> service =
        pattern(host).flatMap(h -> Optional.ofNullable(winners.get(new HostPort(h, port))));
    Optional<Service.Port> found = service.flatMap(s -> s.port(port));
    Optional<Backend.Subset> chosen =
        service.flatMap(s -> subset.flatMap(name -> client.rules().subset(s, name)));
    if (found.isEmpty() || (subset.isPresent() && chosen.isEmpty())) {
      return Action.CannotReach.of(
          new Decision.Destination(
              Backend.cluster(port, subset.orElse(""), host), host, by.namespace(), port),
          Refusal.CLUSTER_NOT_FOUND,
          by);
    }
    return found.get().backend().under(client.rules().policy(service.get(), port, subset), chosen);
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
      if (isOne(block)) {
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
      rules.everywhere().tls(service.host(), own);
      if (client.allocated() && !(port.backend().source() instanceof Backend.Source.ByName)) {
        for (InetAddress address : port.allocated()) {
          at(rules.allocated, address).anyTls(own);
        }
      }
    }
    for (CidrBlock block : port.addresses()) {
      if (isOne(block)) {
        Listener.Builder at = at(rules.addresses, block.network());
        routes.tls().forEach(at::tls);
        at.anyTls(own);
      } else if (rules.admits(port.protocol())) {
        Listener.Builder at = at(rules.blocks, block);
        routes.tls().forEach(at::tls);
        at.tls(service.host(), own);
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
      if (isOne(block)) {
        at(rules.addresses, block.network()).rest(action);
      } else if (rules.admits(port.protocol())) {
        at(rules.blocks, block).rest(action);
      }
    }
  }

  private static <K> Listener.Builder at(Map<K, Listener.Builder> listeners, K key) {
    return listeners.computeIfAbsent(key, _ -> new Listener.Builder());
  }

  private static boolean isOne(CidrBlock block) {
    return block.prefix() == block.network().getAddress().length * 8;
  }
}
