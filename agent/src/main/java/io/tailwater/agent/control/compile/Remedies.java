package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.HostScope;
import io.tailwater.agent.control.istio.Protocol;
import io.tailwater.agent.control.istio.Sidecar;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.dataplane.route.Remedy;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// Finds what the resources at hand would have to say for a refused name to be allowed to the
/// clients of one view. Pure and immutable.
final class Remedies {
  private static final Comparator<Service> SPECIFICITY =
      Comparator.comparing(s -> HostScope.of(s.host()), HostScope.SPECIFICITY);

  /// A client that asks for something.
  private record Asked(HostName name, OriginalDst dst, Protocol.Family family) {
    int port() {
      return dst.port();
    }

    /// Whether it is where only other addresses are found.
    boolean isElsewhere(List<CidrBlock> addresses, boolean everywhere) {
      return family != Protocol.Family.HTTP
          && !everywhere
          && !addresses.isEmpty()
          && addresses.stream().noneMatch(b -> b.contains(dst.address()));
    }

    boolean takenBy(Service.Port port) {
      return fits(port) && !isElsewhere(port.addresses(), port.everywhere());
    }

    boolean fits(Service.Port port) {
      return switch (port.protocol().family()) {
        case TCP, UNSET -> true;
        case TLS, HTTP, UDP -> port.protocol().family() == family;
      };
    }
  }

  private final String namespace;
  private final Map<HostPattern, List<Service>> services;
  private final Optional<Sidecar> sidecar;
  private final Optional<SidecarScope> scope;
  private final List<SidecarScope.Routes> routes;

  /// @param namespace the client's
  /// @param services all that there are, by host
  /// @param sidecar the client's, if it has one
  /// @param routes what it may import besides services
  Remedies(
      String namespace,
      Map<HostPattern, List<Service>> services,
      Optional<Sidecar> sidecar,
      List<SidecarScope.Routes> routes) {
    this.namespace = namespace;
    this.services = services;
    this.sidecar = sidecar;
    this.scope = sidecar.map(s -> new SidecarScope(s, namespace));
    this.routes = routes;
  }

  private List<Service> exported(HostPattern host) {
    return services.getOrDefault(host, List.of()).stream()
        .filter(s -> s.visibility().covers(namespace))
        .toList();
  }

  private List<Service> visible(HostPattern host) {
    List<Service> exported = exported(host);
    return scope.map(s -> s.visible(exported, routes)).orElse(exported);
  }

  /// Empty where a ServiceEntry of the client's own namespace does it, or nothing does.
  ///
  /// @param refusing the resource that refuses, if one does
  Optional<Remedy> of(
      Optional<HostName> name, OriginalDst dst, Preface preface, Optional<ResourceRef> refusing) {
    Optional<ResourceRef> routes = refusing.filter(r -> r.kind().equals("VirtualService"));
    if (routes.isPresent()) {
      return Optional.of(
          new Remedy.None(
              "the Host is allowed; give " + routes.get() + " a route for the request"));
    }
    if (refusing.filter(r -> lacks(r, dst.port())).isPresent()) {
      return Optional.of(new Remedy.AddPort(refusing.get()));
    }
    Optional<Protocol.Family> family =
        switch (preface) {
          case Preface.Tls _ -> Optional.of(Protocol.Family.TLS);
          case Preface.Http _ -> Optional.of(Protocol.Family.HTTP);
          case Preface.TlsWithoutName _,
              Preface.MalformedTls _,
              Preface.Opaque _,
              Preface.Silent _ ->
              Optional.empty();
        };
    if (name.isEmpty() || family.isEmpty()) {
      return Optional.empty();
    }
    Asked asked = new Asked(name.get(), dst, family.get());
    return hidden(asked).or(() -> there(asked)).or(() -> unimported(asked));
  }

  /// Whether it is a Kubernetes Service without that port.
  private boolean lacks(ResourceRef service, int port) {
    if (!service.kind().equals("Service")) {
      return false;
    }
    List<Service> now =
        services.values().stream()
            .flatMap(List::stream)
            .filter(s -> s.ref().equals(service))
            .toList();
    return !now.isEmpty() && now.stream().allMatch(s -> s.port(port).isEmpty());
  }

  /// What would take it, were it imported.
  private Optional<Remedy> hidden(Asked asked) {
    return scope.flatMap(s ->
        covering(asked.name)
            .flatMap(host -> exported(host).stream())
            .filter(e -> e.port(asked.port()).filter(asked::takenBy).isPresent())
            .filter(e ->
                visible(e.host()).stream()
                    .noneMatch(v -> v.ref().equals(e.ref()) && v.port(asked.port()).isPresent()))
            .min(SPECIFICITY)
            .map(e -> bringIn(s, e.namespace(), e.host(), asked.port(), false)));
  }

  /// The patterns that may have a name, whether anything has them or not.
  private static Stream<HostPattern> covering(HostName name) {
    List<HostPattern> out = new ArrayList<>();
    out.add(new HostPattern.Exact(name));
    for (int dot = name.text().indexOf('.'); dot >= 0; dot = name.text().indexOf('.', dot + 1)) {
      out.add(new HostPattern.Wildcard(HostName.of(name.text().substring(dot + 1))));
    }
    return out.stream();
  }

  /// What has the very name, and not for this.
  private Optional<Remedy> there(Asked asked) {
    Optional<Service> same =
        visible(new HostPattern.Exact(asked.name)).stream()
            .filter(s -> s.alias().isEmpty())
            .reduce((older, younger) -> younger.beats(older, namespace) ? younger : older);
    if (same.isEmpty()) {
      return Optional.empty();
    }
    Service service = same.get();
    Optional<Service.Port> taken = service.port(asked.port());
    List<CidrBlock> addresses = taken.map(Service.Port::addresses).orElse(service.addresses());
    boolean everywhere =
        taken
            .map(Service.Port::everywhere)
            .orElse(service.ports().stream().anyMatch(Service.Port::everywhere));
    String has = Problem.show(service.ref()) + " has this name ";
    if (taken.isPresent() && !asked.fits(taken.get())) {
      return Optional.of(
          new Remedy.None(
              has
                  + "on port "
                  + asked.port()
                  + " for "
                  + taken.get().protocol().text()
                  + "; let the client speak that, or change the protocol of the port"));
    }
    if (asked.isElsewhere(addresses, everywhere)) {
      return Optional.of(
          new Remedy.None(
              has
                  + "at its addresses alone ("
                  + addresses.stream().map(CidrBlock::toString).collect(Collectors.joining(", "))
                  + "); let the client dial one of them"));
    }
    return taken.isEmpty() ? Optional.of(new Remedy.AddPort(service.ref())) : Optional.empty();
  }

  /// A new entry of the client's namespace that its Sidecar would hide.
  private Optional<Remedy> unimported(Asked asked) {
    HostPattern host = new HostPattern.Exact(asked.name);
    return scope
        .filter(s -> !s.imports(namespace, host, asked.port()))
        .map(s -> bringIn(s, namespace, host, asked.port(), true));
  }

  private Remedy bringIn(
      SidecarScope scope, String owner, HostPattern host, int port, boolean entry) {
    ResourceRef ref = sidecar.orElseThrow().ref();
    Optional<Sidecar.Import> excluded = scope.excludes(owner, host, port);
    if (excluded.isPresent()) {
      return new Remedy.None(
          Problem.show(ref) + " excludes it by \"" + excluded.get().show() + "\"; remove that");
    }
    String from = owner.equals(namespace) ? "." : owner;
    return new Remedy.Import(ref, from + "/" + host.text(), scope.listener(port), entry);
  }
}
