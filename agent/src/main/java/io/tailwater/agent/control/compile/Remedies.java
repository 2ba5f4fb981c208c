package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.HostScope;
import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.control.istio.Sidecar;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Remedy;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.Refusal;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;

/// Finds what the resources at hand would have to say for a refused name to be allowed. Pure; one
/// use.
///
/// @param namespace the client's
/// @param exported what is exported to it
/// @param visible what it sees of that
/// @param sidecar the client's, if it has one
record Remedies(
    String namespace, List<Service> exported, List<Service> visible, Optional<Sidecar> sidecar) {
  private static final Comparator<Service> SPECIFICITY =
      Comparator.comparing(s -> HostScope.of(s.host()), HostScope.SPECIFICITY);

  /// Why the decision refuses, or would without audit, where an entry could change it.
  static boolean isUnknown(Decision decision) {
    Optional<Refusal> why =
        switch (decision) {
          case Decision.Refuse refuse -> Optional.of(refuse.why());
          case Decision.Passthrough pass -> pass.wouldBlock();
          case Decision.Forward _,
              Decision.ByName _,
              Decision.ToWaypoint _,
              Decision.PerRequest _ ->
              Optional.empty();
        };
    return why.filter(w -> w == Refusal.CONNECTION_CLOSED || w == Refusal.HTTP_502).isPresent();
  }

  /// Empty where a ServiceEntry of the client's own namespace does it.
  ///
  /// @param family what the connection speaks
  Optional<Remedy> of(HostName name, int port, Protocol.Family family) {
    Optional<Remedy> hidden = hidden(name, port, family);
    if (hidden.isPresent()) {
      return hidden;
    }
    Optional<Service> same =
        visible.stream()
            .filter(s -> !s.kubernetes() && s.host().equals(new HostPattern.Exact(name)))
            .findFirst();
    if (same.isPresent()) {
      Optional<Service.Port> taken = same.get().port(port);
      if (taken.isEmpty()) {
        return Optional.of(new Remedy.AddPort(same.get().ref()));
      }
      if (!fits(taken.get(), family)) {
        return Optional.of(
            new Remedy.OtherProtocol(same.get().ref(), taken.get().protocol().text()));
      }
    }
    return sidecar
        .filter(s -> !imports(s, name, port))
        .map(s -> new Remedy.Import(s.ref(), "./" + name.text(), true));
  }

  /// What would take it, were it imported.
  private Optional<Remedy> hidden(HostName name, int port, Protocol.Family family) {
    return sidecar.flatMap(s ->
        exported.stream()
            .filter(e -> e.host().covers(name))
            .filter(e -> e.port(port).filter(p -> fits(p, family)).isPresent())
            .filter(e -> visible.stream().noneMatch(v -> isSame(v, e)))
            .min(SPECIFICITY)
            .map(e -> new Remedy.Import(s.ref(), show(e), false)));
  }

  private String show(Service service) {
    return (service.namespace().equals(namespace) ? "." : service.namespace())
        + "/"
        + service.host().text();
  }

  private static boolean isSame(Service one, Service other) {
    return one.ref().equals(other.ref()) && one.host().equals(other.host());
  }

  private static boolean fits(Service.Port port, Protocol.Family family) {
    return port.protocol().family() == family || port.protocol() == Protocol.UNSET;
  }

  /// Whether a new entry of the client's namespace would be imported.
  private boolean imports(Sidecar of, HostName name, int port) {
    HostPattern host = new HostPattern.Exact(name);
    return of.egress().isEmpty()
        || of.egress().stream()
            .filter(l -> l.port().map(p -> p.number() == port).orElse(true))
            .anyMatch(l ->
                l.hosts().stream()
                        .anyMatch(
                            i -> !i.excludes() && i.about(namespace, namespace) && i.contains(host))
                    && l.hosts().stream()
                        .noneMatch(i ->
                            i.excludes() && i.about(namespace, namespace) && i.contains(host)));
  }
}
