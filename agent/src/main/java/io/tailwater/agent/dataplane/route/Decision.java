package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.List;
import java.util.Optional;

/// What policy says of one connection, or of one HTTP request. A value; the flow carries it out.
public sealed interface Decision {
  /// Istio's name for refused unknown traffic.
  String BLACK_HOLE = "BlackHoleCluster";

  /// Istio's name for passed unknown traffic.
  String PASSTHROUGH = "PassthroughCluster";

  /// Istio's name for unknown HTTP that is resolved by its Host.
  String ALLOW_ANY_DYNAMIC_DNS = "AllowAnyDynamicDNSCluster";

  /// The name of the cluster under which it is counted; empty where there is none.
  Optional<String> cluster();

  /// The same, with the client's name put into a decision that goes by it.
  default Decision named(Preface preface) {
    return this instanceof ByName byName && preface instanceof Preface.Tls tls
        ? byName.forward(tls.sni())
        : this;
  }

  /// Goes to a configured destination. `upstreamHost` is the name shown for it: the requested name
  /// under a wildcard, else the entry's host. With `auditing`, where the address filter would
  /// refuse, it passes to the dialled address instead. `request` is what is done to a request on
  /// its way; without meaning for a connection.
  record Forward(
      Destination to,
      String upstreamHost,
      Target target,
      AddressRule addressRule,
      ResourceRef resource,
      boolean auditing,
      RequestPolicy request)
      implements Decision {
    public Forward(
        Destination to,
        String upstreamHost,
        Target target,
        AddressRule addressRule,
        ResourceRef resource,
        boolean auditing) {
      this(to, upstreamHost, target, addressRule, resource, auditing, RequestPolicy.NONE);
    }

    @Override
    public Optional<String> cluster() {
      return Optional.of(to.cluster());
    }

    /// The same to something else.
    public Forward to(Target other) {
      return new Forward(to, upstreamHost, other, addressRule, resource, auditing, request);
    }

    /// The same with something done to the request.
    public Forward with(RequestPolicy other) {
      return new Forward(to, upstreamHost, target, addressRule, resource, auditing, other);
    }
  }

  /// Goes to what the name that the client asked for resolves to (DYNAMIC_DNS). Made beforehand, so
  /// that deciding makes nothing; [#forward] puts the name in.
  record ByName(
      Destination to, int port, AddressRule addressRule, ResourceRef resource, boolean auditing)
      implements Decision {
    @Override
    public Optional<String> cluster() {
      return Optional.of(to.cluster());
    }

    /// The decision for the requested name.
    public Forward forward(HostName name) {
      return forward(name, port);
    }

    /// The decision for the requested name and port.
    Forward forward(HostName name, int requestedPort) {
      return new Forward(
          to,
          name.text(),
          new Target.Endpoints(List.of(new Target.Endpoint.Name(name, requestedPort))),
          addressRule,
          resource,
          auditing);
    }
  }

  /// The connection speaks HTTP on a port that has an HTTP listener: each of its requests is put to
  /// `ClientView.decide(OriginalDst, Request)`. Never the answer to a request.
  record PerRequest() implements Decision {
    @Override
    public Optional<String> cluster() {
      return Optional.empty();
    }
  }

  /// Goes to a waypoint, which decides the rest.
  ///
  /// @param waypoint the Gateway as `namespace/name`
  /// @param service the Service or entry that is bound to it as `namespace/host`; empty where a
  ///   workload was dialled
  /// @param resource what is bound
  record ToWaypoint(String waypoint, Optional<String> service, ResourceRef resource)
      implements Decision {
    @Override
    public Optional<String> cluster() {
      return Optional.empty();
    }
  }

  /// A configured destination: Istio's cluster name `outbound|PORT|SUBSET|HOST`, the service's
  /// host, namespace and port, which HTTP requests go there as, and how connections to it are made.
  record Destination(
      String cluster,
      String host,
      String namespace,
      int port,
      UpstreamHttp http,
      ConnectionPolicy policy) {
    public Destination(
        String cluster, String host, String namespace, int port, ConnectionPolicy policy) {
      this(cluster, host, namespace, port, UpstreamHttp.HTTP1, policy);
    }

    public Destination(String cluster, String host, String namespace, int port) {
      this(cluster, host, namespace, port, UpstreamHttp.HTTP1, ConnectionPolicy.DEFAULT);
    }

    /// As policy tests name it: `namespace/host`.
    public String service() {
      return namespace + "/" + host;
    }
  }

  /// Goes to the dialled address. `wouldBlock` is the reason for which enforcement would have
  /// refused it (audit mode).
  record Passthrough(Optional<Refusal> wouldBlock, Optional<ResourceRef> resource)
      implements Decision {
    @Override
    public Optional<String> cluster() {
      return Optional.of(PASSTHROUGH);
    }
  }

  /// Is refused: a connection by a reset, a request (and [Refusal#HTTP_502] always) by a response
  /// with status 404, 502 or 503. `resource` is what decided, if one did; `service` the known
  /// destination that cannot be reached, as `namespace/host`.
  record Refuse(
      Refusal why,
      Optional<String> cluster,
      Optional<ResourceRef> resource,
      Optional<String> service)
      implements Decision {
    public Refuse(Refusal why, Optional<String> cluster, Optional<ResourceRef> resource) {
      this(why, cluster, resource, Optional.empty());
    }

    /// The VirtualService that has routes for the Host of a request and none for the request: the
    /// answer has status 404 then, as Istio's.
    public Optional<ResourceRef> noRoute() {
      return resource.filter(r -> why == Refusal.HTTP_502 && r.kind().equals("VirtualService"));
    }
  }
}
