package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.util.List;
import java.util.Optional;

/// One compiled policy: immutable, published whole. Views are built on first use and cached.
public interface RouteTable {
  /// Counts up with each compile.
  long generation();

  /// The view for a pod. Keep it until the generation changes; looking it up is not for each
  /// connection.
  ClientView view(Pod pod);

  /// How many Kubernetes Services and workloads are bound to a waypoint that cannot be used, so
  /// that their connections go without one.
  default long unusedWaypoints() {
    return 0;
  }

  /// The decision for one connection and what else was considered. For people: it costs a walk over
  /// everything that is configured.
  ///
  /// @param request what the connection asks for where requests are decided one by one
  default Explanation explain(
      Pod pod, OriginalDst dst, Preface preface, Optional<Request> request) {
    ClientView view = view(pod);
    Preface read = view.ask(dst) == ClientView.Ask.PREFACE ? preface : new Preface.Silent();
    Decision decision = view.decide(dst, read);
    return new Explanation(
        decision instanceof Decision.PerRequest && request.isPresent()
            ? view.decide(dst, request.get())
            : decision,
        List.of());
  }

  /// The same for a connection; HTTP is judged by what its first bytes say.
  default Explanation explain(Pod pod, OriginalDst dst, Preface preface) {
    return explain(
        pod,
        dst,
        preface,
        preface instanceof Preface.Http http ? Optional.of(Request.of(http)) : Optional.empty());
  }

  /// Finds what resources would have to say for refused connections to be allowed.
  interface Advisor {
    /// Empty where a ServiceEntry of the client's own namespace does it.
    ///
    /// @param refusing the resource that refuses, if one does
    Optional<Remedy> remedy(
        Pod pod, OriginalDst dst, Preface preface, Optional<ResourceRef> refusing);
  }

  /// One for a page of refusals: it keeps what it has found out about clients, so let it go after
  /// that. One thread; for people.
  default Advisor advisor() {
    return (_, _, _, _) -> Optional.empty();
  }

  /// The address of a Kubernetes Service that the pod sees by that name, which is what a cluster's
  /// DNS answers. For people.
  default Optional<InetAddress> vip(Pod pod, HostName name) {
    return Optional.empty();
  }

  /// One port of one configured host, for people: `exportTo` as it was evaluated, `action` a word
  /// of what is done.
  record Configured(
      String cluster,
      String host,
      int port,
      String protocol,
      String exportTo,
      String action,
      ResourceRef resource) {}

  /// Everything that is configured, ordered by cluster and resource. For people.
  default List<Configured> configured() {
    return List.of();
  }

  /// What a connection to a port would be expected to speak, for those who only name a destination.
  enum Speaks {
    TLS,
    HTTP,
    OTHER
  }

  /// What clients in the pod's place would speak to a host and port, as far as is configured; else
  /// what the port number usually means.
  default Speaks speaks(Pod pod, Optional<HostName> host, int port) {
    return switch (port) {
      case 80, 8080 -> Speaks.HTTP;
      case 443, 8443 -> Speaks.TLS;
      default -> Speaks.OTHER;
    };
  }
}
