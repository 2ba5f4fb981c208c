package io.tailwater.agent.control.compile;

import io.tailwater.agent.dataplane.route.Action;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.DestinationPolicy;
import io.tailwater.agent.dataplane.route.Listener;
import io.tailwater.agent.dataplane.route.PortPolicy;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostPattern;
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
/// the most specific address, then by name. One use, one thread.
final class ViewBuilder {
  /// Tells what becomes of a service's port for this client.
  interface Governed {
    /// The resource that governs it and is not honoured, if any.
    Optional<ResourceRef> by(Service service);
  }

  private static final class Rules {
    final Map<HostPattern, Action> tls = new HashMap<>();
    final Map<HostPattern, Action> http = new HashMap<>();
    @Nullable Action anyTls;
    @Nullable Action rest;
    boolean speaksHttp;

    Listener build() {
      return new Listener(
          tls, Optional.ofNullable(anyTls), http, speaksHttp, Optional.ofNullable(rest));
    }
  }

  private static final class PortRules {
    final Map<InetAddress, Rules> addresses = new LinkedHashMap<>();
    final Map<CidrBlock, Rules> blocks = new LinkedHashMap<>();
    @Nullable Rules everywhere;

    Rules everywhere() {
      Rules rules = everywhere == null ? new Rules() : everywhere;
      everywhere = rules;
      return rules;
    }

    PortPolicy build() {
      Map<InetAddress, Listener> byAddress = new HashMap<>();
      addresses.forEach((a, rules) -> byAddress.put(a, rules.build()));
      List<PortPolicy.Block> byBlock = new ArrayList<>();
      blocks.forEach((b, rules) -> byBlock.add(new PortPolicy.Block(b, rules.build())));
      return new PortPolicy(byAddress, byBlock, Optional.ofNullable(everywhere).map(Rules::build));
    }
  }

  private record HostPort(HostPattern host, int port) {}

  private final Map<Integer, PortRules> ports = new HashMap<>();
  private final Governed governed;

  private ViewBuilder(Governed governed) {
    this.governed = governed;
  }

  /// @param visible the services that the client sees, oldest first
  /// @param addresses what takes an address on every port
  static DestinationPolicy build(
      String clientNamespace,
      List<Service> visible,
      Governed governed,
      Map<InetAddress, ResourceRef> addresses) {
    ViewBuilder builder = new ViewBuilder(governed);
    Map<HostPort, Service> winners = winners(clientNamespace, visible);
    for (Service service : visible) {
      for (Service.Port port : service.ports()) {
        Service winner = winners.getOrDefault(new HostPort(service.host(), port.number()), service);
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
            new Action.NotHonoured(
                new Decision.Destination(Decision.BLACK_HOLE, ref.name(), ref.namespace(), 0),
                ref.kind() + " is not honoured yet",
                ref)));
    return new DestinationPolicy(policies, byAddress);
  }

  /// Who has a host and port: the client's own namespace, else the oldest.
  private static Map<HostPort, Service> winners(String clientNamespace, List<Service> visible) {
    Map<HostPort, Service> out = new HashMap<>(visible.size() * 2);
    for (Service service : visible) {
      for (Service.Port port : service.ports()) {
        out.merge(
            new HostPort(service.host(), port.number()),
            service,
            (older, younger) ->
                !older.namespace().equals(clientNamespace)
                        && younger.namespace().equals(clientNamespace)
                    ? younger
                    : older);
      }
    }
    return out;
  }

  private void add(Service service, Service.Port port) {
    Action action =
        governed
            .by(service)
            .<Action>map(ref ->
                new Action.NotHonoured(
                    port.action().to(), ref.kind() + " is not honoured yet", ref))
            .orElse(port.action());
    PortRules rules = ports.computeIfAbsent(port.number(), _ -> new PortRules());
    switch (port.protocol().family()) {
      case HTTP -> http(rules.everywhere(), service, action);
      case TLS -> tls(rules, service, port, action);
      case TCP -> tcp(rules, port, action);
      case UNSET -> {
        if (port.everywhere()) {
          http(rules.everywhere(), service, action);
        }
        tcp(rules, port, action);
      }
      case UDP -> {}
    }
  }

  private static void http(Rules rules, Service service, Action action) {
    rules.speaksHttp = true;
    rules.http.putIfAbsent(service.host(), action);
  }

  /// An address binds the service to it and stands for its name; a block only narrows.
  private static void tls(PortRules rules, Service service, Service.Port port, Action action) {
    if (port.everywhere()) {
      rules.everywhere().tls.putIfAbsent(service.host(), action);
    }
    for (CidrBlock block : port.addresses()) {
      if (isOne(block)) {
        Rules at = rules.addresses.computeIfAbsent(block.network(), _ -> new Rules());
        if (at.anyTls == null && at.rest == null) {
          at.anyTls = action;
        }
      } else {
        rules
            .blocks
            .computeIfAbsent(block, _ -> new Rules())
            .tls
            .putIfAbsent(service.host(), action);
      }
    }
  }

  private static void tcp(PortRules rules, Service.Port port, Action action) {
    if (port.everywhere()) {
      takeRest(rules.everywhere(), action);
    }
    for (CidrBlock block : port.addresses()) {
      if (isOne(block)) {
        Rules at = rules.addresses.computeIfAbsent(block.network(), _ -> new Rules());
        if (at.anyTls == null) {
          takeRest(at, action);
        }
      } else {
        takeRest(rules.blocks.computeIfAbsent(block, _ -> new Rules()), action);
      }
    }
  }

  /// The older one keeps it.
  private static void takeRest(Rules rules, Action action) {
    if (rules.rest == null) {
      rules.rest = action;
    }
  }

  private static boolean isOne(CidrBlock block) {
    return block.prefix() == block.network().getAddress().length * 8;
  }
}
