package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.Optional;

/// Why services did not get a connection, as clauses for people. Pure.
///
/// @param namespace the client's
/// @param sidecar the client's, if it has one
record Reasons(
    String namespace,
    Optional<ResourceRef> sidecar,
    OriginalDst dst,
    Preface preface,
    Decision decision) {
  /// Why a service that has something to do with the connection did not get it; empty where it has
  /// nothing to do with it, or did.
  ///
  /// @param seen the part of it that the client sees
  Optional<String> of(Service service, Optional<Service> seen) {
    if (decision instanceof Decision.Refuse refuse
        && refuse.why() == Refusal.WAYPOINT_UNAVAILABLE
        && refuse.resource().equals(Optional.of(service.ref()))
        && service.binding() instanceof Waypoints.Binding.Unavailable(String reason)) {
      return Optional.of("is bound to a waypoint that cannot be used: " + reason);
    }
    Optional<HostName> name = name(preface);
    boolean named = name.map(n -> service.host().covers(n)).orElse(false);
    boolean apex =
        name.isPresent()
            && service.host() instanceof HostPattern.Wildcard(HostName suffix)
            && suffix.equals(name.get());
    boolean addressed = service.addresses().stream().anyMatch(b -> b.contains(dst.address()));
    Optional<Service.Port> port =
        service.ports().stream().filter(p -> p.number() == dst.port()).findFirst();
    if (!named && !apex && !addressed && (name.isPresent() || port.isEmpty())) {
      return Optional.empty();
    }
    if (apex) {
      return Optional.of("does not cover " + name.get() + ": a wildcard covers what is below it");
    }
    if (!service.visibility().covers(namespace)) {
      return Optional.of(
          "is not exported to " + namespace + " (exportTo: " + service.visibility().show() + ")");
    }
    if (seen.isEmpty()) {
      return Optional.of("is not imported by " + Problem.show(sidecar.orElseThrow()));
    }
    if (port.isPresent() && seen.get().port(dst.port()).isEmpty()) {
      return Optional.of(
          "has port "
              + dst.port()
              + ", which "
              + Problem.show(sidecar.orElseThrow())
              + " does not import of it");
    }
    if (port.isEmpty()) {
      return Optional.of("has no port " + dst.port() + " (its ports: " + ports(service) + ")");
    }
    return Optional.of(lostOnPort(service, seen.get().port(dst.port()).orElse(port.get())))
        .filter(reason -> !reason.isEmpty());
  }

  private static String ports(Service service) {
    return String.join(
        ", ", service.ports().stream().map(p -> String.valueOf(p.number())).toList());
  }

  private String lostOnPort(Service service, Service.Port port) {
    boolean byAddress = !port.everywhere() && port.protocol().family() != Protocol.Family.HTTP;
    if (byAddress && port.addresses().stream().noneMatch(b -> b.contains(dst.address()))) {
      return "is bound to its addresses, and "
          + AddressText.of(dst.address())
          + " is none of them ("
          + String.join(", ", port.addresses().stream().map(CidrBlock::toString).toList())
          + ")";
    }
    String mismatch = mismatch(port);
    if (!mismatch.isEmpty()) {
      return mismatch;
    }
    Optional<ResourceRef> other = resource(decision);
    if (other.map(service.ref()::equals).orElse(false)) {
      return decision instanceof Decision.Refuse refuse && refuse.why() == Refusal.HTTP_502
          ? "does not list the port that Host names (its ports: " + ports(service) + ")"
          : ""; // it decided, so it did not lose
    }
    if (other.map(r -> r.kind().equals("VirtualService")).orElse(false)) {
      return "is routed by " + Problem.show(other.get());
    }
    if (decision instanceof Decision.Forward forward) {
      if (!forward.to().host().equals(service.host().text())) {
        return name(preface).map(service.host()::covers).orElse(false)
            ? "is less specific than " + forward.to().host()
            : "has no name in these bytes, and " + forward.resource() + " comes first on the port";
      }
      return forward.to().namespace().equals(namespace)
          ? "is in another namespace, and the client's own comes first"
          : "is younger than " + forward.resource();
    }
    return "does not take this connection";
  }

  private String mismatch(Service.Port port) {
    String speaks =
        switch (preface) {
          case Preface.Tls _, Preface.TlsWithoutName _, Preface.MalformedTls _ -> "TLS";
          case Preface.Http _ -> "plaintext HTTP";
          case Preface.Opaque _ -> "neither TLS nor HTTP";
          case Preface.Silent _ -> "silent";
        };
    boolean fits =
        switch (port.protocol().family()) {
          case TLS -> preface instanceof Preface.Tls;
          case HTTP -> preface instanceof Preface.Http;
          case TCP, UNSET -> true;
          case UDP -> false;
        };
    if (fits) {
      return "";
    }
    if (port.protocol().family() == Protocol.Family.TLS
        && preface instanceof Preface.TlsWithoutName) {
      return "needs a server name on port " + port.number() + ", and the ClientHello carries none";
    }
    return "its port "
        + port.number()
        + " is "
        + port.protocol().text()
        + ", and the connection is "
        + speaks;
  }

  /// The name that the first bytes carry.
  static Optional<HostName> name(Preface preface) {
    return switch (preface) {
      case Preface.Tls(HostName sni, _) -> Optional.of(sni);
      case Preface.Http http -> http.host();
      case Preface.TlsWithoutName _, Preface.MalformedTls _, Preface.Opaque _, Preface.Silent _ ->
          Optional.empty();
    };
  }

  /// What decided.
  static Optional<ResourceRef> resource(Decision decision) {
    return switch (decision) {
      case Decision.Forward forward -> Optional.of(forward.resource());
      case Decision.ByName byName -> Optional.of(byName.resource());
      case Decision.ToWaypoint waypoint -> Optional.of(waypoint.resource());
      case Decision.PerRequest _ -> Optional.empty();
      case Decision.Refuse refuse -> refuse.resource();
      case Decision.Passthrough pass -> pass.resource();
    };
  }
}
