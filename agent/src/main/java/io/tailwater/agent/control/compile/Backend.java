package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.dataplane.route.Action;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.LoadBalancing;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.route.UpstreamHttp;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// What is behind one port of a service, before the rules of a client say how it is reached.
/// Immutable.
final class Backend {
  /// Where connections go.
  sealed interface Source {
    /// To the dialled address, on this port.
    record Dialled(int port) implements Source {}

    /// To what the requested name resolves to. A Host may name one of `hostPorts`.
    record ByName(List<Integer> hostPorts) implements Source {
      public ByName {
        hostPorts = List.copyOf(hostPorts);
      }
    }

    /// To one of these; none is a destination that cannot be reached.
    record Endpoints(List<Labelled> endpoints, boolean oneAddress) implements Source {
      public Endpoints {
        endpoints = List.copyOf(endpoints);
      }
    }
  }

  /// An endpoint with the labels that subsets select by.
  record Labelled(Target.Endpoint endpoint, Map<String, String> labels) {
    Labelled {
      labels = Map.copyOf(labels);
    }
  }

  /// A subset of a DestinationRule.
  record Subset(String name, Map<String, String> labels) {
    Subset {
      labels = Map.copyOf(labels);
    }
  }

  private static final int HTTP_PORT = 80;
  private static final int HTTPS_PORT = 443;

  private final HostPattern host;
  private final String namespace;
  private final int port;
  private final Protocol protocol;
  private final Source source;
  private final AddressRule rule;
  private final ResourceRef resource;
  private final Action plain;

  /// @param namespace the service's
  /// @param resource what configures the port
  Backend(
      HostPattern host,
      String namespace,
      int port,
      Protocol protocol,
      Source source,
      AddressRule rule,
      ResourceRef resource) {
    this.host = host;
    this.namespace = namespace;
    this.port = port;
    this.protocol = protocol;
    this.source = source;
    this.rule = rule;
    this.resource = resource;
    this.plain = make(ConnectionPolicy.DEFAULT, Optional.empty(), resource);
  }

  /// What configures the port.
  ResourceRef resource() {
    return resource;
  }

  Source source() {
    return source;
  }

  /// Which of its addresses may be dialled.
  AddressRule addressRule() {
    return rule;
  }

  /// What is done where no rule says anything; shared by all clients.
  Action plain() {
    return plain;
  }

  /// What is done under a client's rules.
  Action under(ConnectionPolicy policy, Optional<Subset> subset) {
    return subset.isEmpty() && policy.equals(ConnectionPolicy.DEFAULT)
        ? plain
        : make(policy, subset, resource);
  }

  /// The same where a route of another resource leads here: that one decides.
  Action routed(ConnectionPolicy policy, Optional<Subset> subset, ResourceRef by) {
    return make(policy, subset, by);
  }

  /// Istio's name of the cluster.
  String cluster(Optional<Subset> subset) {
    return cluster(port, subset.map(Subset::name).orElse(""), host.text());
  }

  static String cluster(int port, String subset, String host) {
    return "outbound|" + port + "|" + subset + "|" + host;
  }

  private Action make(ConnectionPolicy policy, Optional<Subset> subset, ResourceRef by) {
    Decision.Destination to =
        new Decision.Destination(
            cluster(subset), host.text(), namespace, port, http(policy), policy);
    boolean passthrough = policy.balancing().kind() == LoadBalancing.Kind.PASSTHROUGH;
    return switch (source) {
      case Source.ByName(List<Integer> hostPorts) ->
          subset.isPresent()
              ? Action.CannotReach.of(to, Refusal.CLUSTER_NOT_FOUND, by)
              : Action.ByName.of(to, namedPort(policy), hostPorts, rule, by);
      case Source.Dialled(int dialled) -> go(to, new Target.Dialled(dialled), rule, by);
      case Source.Endpoints _ when passthrough ->
          go(to, new Target.Dialled(port), pickedByTheClient(), by);
      case Source.Endpoints(List<Labelled> all, boolean oneAddress) -> {
        List<Target.Endpoint> chosen =
            all.stream()
                .filter(e ->
                    subset
                        .map(s -> e.labels.entrySet().containsAll(s.labels().entrySet()))
                        .orElse(true))
                .map(Labelled::endpoint)
                .distinct()
                .toList();
        yield chosen.isEmpty()
            ? Action.CannotReach.of(to, Refusal.NO_HEALTHY_UPSTREAM, by)
            : go(to, new Target.Endpoints(chosen, oneAddress), rule, by);
      }
    };
  }

  /// A rule's word, else the port's: what is detected goes on as it is.
  private UpstreamHttp http(ConnectionPolicy policy) {
    return policy
        .http()
        .spoken()
        .orElseGet(() ->
            switch (protocol) {
              case HTTP2, GRPC, GRPC_WEB -> UpstreamHttp.HTTP2;
              case UNSET -> UpstreamHttp.CLIENTS;
              case HTTP, HTTPS, TLS, TCP, MONGO, MYSQL, REDIS, UDP -> UpstreamHttp.HTTP1;
            });
  }

  /// Under a wildcard whose endpoints a rule sets aside for the dialled address.
  private AddressRule pickedByTheClient() {
    return host instanceof HostPattern.Wildcard
        ? new AddressRule(AddressRule.Scope.NEVER_LIST_AND_PRIVATE, rule.exceptions())
        : rule;
  }

  private Action go(Decision.Destination to, Target target, AddressRule which, ResourceRef by) {
    return Action.Go.of(to, host.text(), target, which, by);
  }

  /// TLS goes to the service's port. HTTP goes to the port that Host names, else, as Envoy's
  /// dynamic forward proxy has it, to the port that a URL without one means.
  private int namedPort(ConnectionPolicy policy) {
    if (protocol.family() != Protocol.Family.HTTP) {
      return port;
    }
    return policy.tls().isPresent() ? HTTPS_PORT : HTTP_PORT;
  }
}
