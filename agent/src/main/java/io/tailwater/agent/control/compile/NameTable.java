package io.tailwater.agent.control.compile;

import io.tailwater.agent.dataplane.route.HostIndex;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/// What captured DNS answers a client with, as Istio's DNS proxy does: the addresses of the
/// services that it sees, the exact host before the longest wildcard. Names that are not here are
/// asked of the real resolver. Immutable.
final class NameTable {
  private final HostIndex<List<InetAddress>> addresses;

  private NameTable(Map<HostPattern, List<InetAddress>> addresses) {
    this.addresses = HostIndex.of(addresses);
  }

  /// The addresses of a name, of both families; empty where it is to be asked elsewhere.
  Optional<List<InetAddress>> find(HostName name) {
    return Optional.ofNullable(addresses.find(name));
  }

  /// @param visible the services that the client sees, oldest first
  /// @param realNames whether allocated addresses are for hosts alone that bytes do not name
  static NameTable of(String clientNamespace, List<Service> visible, boolean realNames) {
    Map<HostPattern, Service> winners = new HashMap<>();
    for (Service service : visible) {
      winners.merge(
          service.host(),
          service,
          (older, younger) -> younger.beats(older, clientNamespace) ? younger : older);
    }
    Map<HostPattern, List<InetAddress>> out = new HashMap<>();
    Map<HostPattern, List<InetAddress>> shorter = new HashMap<>();
    winners.forEach((host, service) -> {
      List<InetAddress> found = addresses(service, realNames);
      if (!found.isEmpty()) {
        out.put(host, found);
        if (service.kubernetes() && host instanceof HostPattern.Exact(HostName name)) {
          shortNames(name, service.namespace(), clientNamespace)
              .forEach(n -> shorter.putIfAbsent(new HostPattern.Exact(n), found));
        }
      }
    });
    shorter.forEach(out::putIfAbsent);
    return new NameTable(out);
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
    if (out.isEmpty() && service.kubernetes() && service.alias().isEmpty()) {
      for (Service.Port port : service.ports()) {
        if (port.backend().source() instanceof Backend.Source.Endpoints(var endpoints, _)) {
          for (Backend.Labelled labelled : endpoints) {
            if (labelled.endpoint() instanceof Target.Endpoint.Address(var address, _)) {
              out.add(address.getAddress());
            }
          }
        }
      }
    }
    return out.stream().distinct().toList();
  }

  /// `name`, for clients of its namespace, `name.namespace` and `name.namespace.svc`.
  private static List<HostName> shortNames(HostName host, String namespace, String client) {
    List<HostName> out = new ArrayList<>();
    String text = host.text();
    int first = text.indexOf('.');
    int svc = text.indexOf(".svc.");
    if (first < 0 || svc < 0) {
      return out;
    }
    if (namespace.equals(client)) {
      add(out, text.substring(0, first));
    }
    add(out, text.substring(0, svc));
    add(out, text.substring(0, svc + ".svc".length()));
    return out;
  }

  private static void add(List<HostName> out, String text) {
    if (HostName.parse(text) instanceof HostName.Parsed.Valid(HostName name, _)) {
      out.add(name);
    }
  }
}
