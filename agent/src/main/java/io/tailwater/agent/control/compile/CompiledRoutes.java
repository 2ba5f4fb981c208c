package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.istio.HostScope;
import io.tailwater.agent.control.istio.Sidecar;
import io.tailwater.agent.dataplane.route.Action;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.DestinationPolicy;
import io.tailwater.agent.dataplane.route.Explanation;
import io.tailwater.agent.dataplane.route.OutboundPolicy;
import io.tailwater.agent.dataplane.route.PolicyView;
import io.tailwater.agent.dataplane.route.Remedy;
import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/// One compiled policy. Views are built on first use, those that the table before had already are
/// built at once, so that no loop waits for them. Any thread.
final class CompiledRoutes implements RouteTable {
  /// The label of a Gateway's own pods.
  private static final String GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name";

  /// What pods with the same view have in common.
  ///
  /// @param gateway the waypoint whose pods they are as `namespace/name`, empty for all others
  /// @param selecting those of their labels that rules select by
  private record ViewKey(
      String namespace,
      Optional<ResourceRef> sidecar,
      String gateway,
      Set<Map<String, String>> selecting) {}

  private final long generation;
  private final OutboundPolicy meshOutbound;
  private final DnsAnswers dns;
  private final ClusterResources.Read around;
  private final KnownWorkloads workloads;
  private final Set<String> waypoints;
  private final List<Service> services;
  private final RoutingRules routing;
  private final NotYetHonoured rest;

  /// Namespaces that see something that others do not: their own services, or what is exported to
  /// them by name.
  private final Set<String> particular = new HashSet<>();

  private final Map<ViewKey, PolicyView> views = new ConcurrentHashMap<>();
  private final Map<ViewKey, NameTable> names = new ConcurrentHashMap<>();
  private volatile @Nullable DestinationPolicy shared;
  private volatile @Nullable NameTable sharedNames;

  /// @param meshOutbound what the mesh says of unknown destinations
  /// @param dns what captured DNS answers with
  CompiledRoutes(
      long generation,
      OutboundPolicy meshOutbound,
      DnsAnswers dns,
      ClusterResources.Read around,
      List<Service> services,
      RoutingRules routing,
      NotYetHonoured rest,
      @Nullable CompiledRoutes before) {
    this.generation = generation;
    this.meshOutbound = meshOutbound;
    this.dns = dns;
    this.around = around;
    this.workloads = KnownWorkloads.of(around.workloads(), around.waypoints());
    this.services = List.copyOf(services);
    this.waypoints = waypoints();
    this.routing = routing;
    this.rest = rest;
    findParticular();
    if (before != null) {
      for (ViewKey key : before.views.keySet()) {
        if ((key.sidecar.isEmpty() || around.sidecars().get(key.sidecar.get()).isPresent())
            && routing.selectsBy(key.selecting)) {
          views.put(key, build(key));
          if (before.names.containsKey(key)) {
            names.put(key, nameTable(key));
          }
        }
      }
    }
  }

  /// The waypoints that something is bound to.
  private Set<String> waypoints() {
    Set<String> out = new HashSet<>();
    for (Service service : services) {
      if (service.bound().orElse(null) instanceof Action.ToWaypoint(Decision.ToWaypoint to)) {
        out.add(to.waypoint());
      }
    }
    for (Action action : workloads.bound().values()) {
      if (action instanceof Action.ToWaypoint(Decision.ToWaypoint to)) {
        out.add(to.waypoint());
      }
    }
    return out;
  }

  /// A namespace's own services matter to it beyond visibility only where another namespace has the
  /// same host or address.
  private void findParticular() {
    Map<HostPattern, String> owners = new HashMap<>(services.size() * 2);
    Map<CidrBlock, String> addresses = new HashMap<>();
    for (Service service : services) {
      if (!service.visibility().everyone()) {
        particular.addAll(service.visibility().namespaces());
        continue;
      }
      two(service, owners.putIfAbsent(service.host(), service.namespace()));
      for (CidrBlock address : service.addresses()) {
        two(service, addresses.putIfAbsent(address, service.namespace()));
      }
    }
  }

  private void two(Service service, @Nullable String other) {
    if (other != null && !other.equals(service.namespace())) {
      particular.add(other);
      particular.add(service.namespace());
    }
  }

  @Override
  public long generation() {
    return generation;
  }

  @Override
  public long unusedWaypoints() {
    return workloads.unusedWaypoints()
        + services.stream().filter(s -> s.unusedWaypoint().isPresent()).count();
  }

  @Override
  public List<Configured> configured() {
    List<Configured> out = new ArrayList<>();
    for (Service service : services) {
      for (Service.Port port : service.ports()) {
        out.add(
            new Configured(
                "outbound|" + port.number() + "||" + service.host().text(),
                service.host().text(),
                port.number(),
                port.protocol().name(),
                service.visibility().show(),
                word(service, port.backend()),
                service.ref()));
      }
    }
    out.sort(Comparator.comparing(Configured::cluster).thenComparing(c -> c.resource().toString()));
    return out;
  }

  private static String word(Service service, Backend backend) {
    if (service.bound().isPresent()) {
      return service.bound().get() instanceof Action.ToWaypoint
          ? "waypoint"
          : Refusal.WAYPOINT_UNAVAILABLE.code();
    }
    return switch (backend.source()) {
      case Backend.Source.Endpoints(List<Backend.Labelled> endpoints, _) ->
          endpoints.isEmpty() ? Refusal.NO_HEALTHY_UPSTREAM.code() : "forward";
      case Backend.Source.ByName _ -> "by-name";
      case Backend.Source.Dialled _ -> "to-dialled";
    };
  }

  @Override
  public ClientView view(Pod pod) {
    ViewKey key = key(pod);
    @Nullable PolicyView view = views.get(key);
    return view != null ? view : views.computeIfAbsent(key, this::build);
  }

  /// Waypoints have no Sidecar, as in Istio.
  private ViewKey key(Pod pod) {
    Set<Map<String, String>> selecting = routing.selecting(pod.labels());
    String gateway = pod.namespace() + "/" + pod.labels().getOrDefault(GATEWAY_NAME, "");
    return waypoints.contains(gateway)
        ? new ViewKey(pod.namespace(), Optional.empty(), gateway, selecting)
        : new ViewKey(pod.namespace(), around.sidecars().of(pod).map(Sidecar::ref), "", selecting);
  }

  private PolicyView build(ViewKey key) {
    return new PolicyView(
        around.namespaces().mode(key.namespace),
        outbound(key),
        destinations(key),
        key.namespace + ".svc.cluster.local",
        names(key));
  }

  private Optional<Sidecar> sidecar(ViewKey key) {
    return key.sidecar.flatMap(around.sidecars()::get);
  }

  /// What becomes of unknown destinations: what the client's Sidecar says, else the mesh.
  private OutboundPolicy outbound(ViewKey key) {
    Optional<Sidecar.Outbound> said = sidecar(key).flatMap(Sidecar::outbound);
    if (said.flatMap(Sidecar.Outbound::egressProxy).isPresent()) {
      Sidecar.EgressProxy proxy = said.get().egressProxy().get();
      return new OutboundPolicy.ThroughProxy(
          ViewBuilder.to(
              client(key),
              proxy.host(),
              proxy.port(),
              Optional.of(proxy.subset()).filter(s -> !s.isEmpty()),
              key.sidecar.orElseThrow()));
    }
    return said.<OutboundPolicy>map(own ->
            switch (own.mode()) {
              case ALLOW_ANY -> new OutboundPolicy.AllowAny();
              case REGISTRY_ONLY -> new OutboundPolicy.RegistryOnly();
              // A Sidecar may not say it.
              case ALLOW_ANY_DYNAMIC_DNS -> meshOutbound;
            })
        .orElse(meshOutbound);
  }

  /// Whether the clients see something that others do not.
  private boolean isOwn(ViewKey key) {
    return key.sidecar.isPresent()
        || !key.gateway.isEmpty()
        || !key.selecting.isEmpty()
        || !rest.sameForAll()
        || routing.isParticular(key.namespace)
        || particular.contains(key.namespace);
  }

  private DestinationPolicy destinations(ViewKey key) {
    if (isOwn(key)) {
      return compile(key);
    }
    DestinationPolicy policy = shared;
    if (policy == null) {
      policy = compile(key);
      shared = policy;
    }
    return policy;
  }

  /// The services that a client sees, oldest first: `exportTo`, then its Sidecar.
  private List<Service> visible(ViewKey key) {
    List<Service> exported =
        services.stream().filter(s -> s.visibility().covers(key.namespace)).toList();
    return sidecar(key)
        .map(s ->
            new SidecarScope(s, key.namespace)
                .visible(exported, routing.imports(Optional.of(key.namespace))))
        .orElse(exported);
  }

  /// What rules of other kinds make of them for a client.
  private ClientRouting rules(ViewKey key) {
    Optional<SidecarScope> scope = sidecar(key).map(s -> new SidecarScope(s, key.namespace));
    return new ClientRouting(
        routing,
        key.namespace,
        key.selecting,
        virtual -> scope.map(s -> s.imports(virtual.namespace(), virtual.hosts())).orElse(true),
        rest);
  }

  /// What captured DNS knows for a client; its table is made when it asks for the first time.
  private PolicyView.Names names(ViewKey key) {
    return dns.captured()
        ? name -> names.computeIfAbsent(key, this::nameTable).find(name, key.namespace)
        : PolicyView.Names.NONE;
  }

  private NameTable nameTable(ViewKey key) {
    if (isOwn(key)) {
      return NameTable.of(key.namespace, visible(key), dns.realNamesFirst());
    }
    NameTable table = sharedNames;
    if (table == null) {
      table = NameTable.of(key.namespace, visible(key), dns.realNamesFirst());
      sharedNames = table;
    }
    return table;
  }

  private DestinationPolicy compile(ViewKey key) {
    return ViewBuilder.build(client(key));
  }

  private ViewBuilder.Client client(ViewKey key) {
    return new ViewBuilder.Client(
        key.namespace, visible(key), rules(key), dns.captured(), workloads, key.gateway);
  }

  @Override
  public Speaks speaks(Pod pod, Optional<HostName> host, int port) {
    Optional<Service.Port> named = Optional.empty();
    Optional<Service.Port> any = Optional.empty();
    for (Service service : visible(key(pod))) {
      for (Service.Port candidate : service.ports()) {
        if (candidate.number() == port) {
          any = any.or(() -> Optional.of(candidate));
          if (host.map(service.host()::covers).orElse(false)) {
            named = named.or(() -> Optional.of(candidate));
          }
        }
      }
    }
    Optional<Service.Port> found = named.isPresent() ? named : any;
    return found
        .map(p ->
            switch (p.protocol().family()) {
              case TLS -> Speaks.TLS;
              case HTTP -> Speaks.HTTP;
              case TCP, UDP, UNSET -> Speaks.OTHER;
            })
        .orElseGet(() -> RouteTable.super.speaks(pod, host, port));
  }

  @Override
  public Optional<InetAddress> vip(Pod pod, HostName name) {
    HostPattern host = new HostPattern.Exact(name);
    return visible(key(pod)).stream()
        .filter(s -> s.kubernetes() && s.host().equals(host) && !s.addresses().isEmpty())
        .findFirst()
        .map(s -> s.addresses().getFirst().network());
  }

  // ---- explaining --------------------------------------------------------------------------

  private static final int MOST_CONSIDERED = 20;

  @Override
  public Explanation explain(Pod pod, OriginalDst dst, Preface preface, Optional<Request> request) {
    ClientView view = view(pod);
    Preface read = view.ask(dst) == ClientView.Ask.PREFACE ? preface : new Preface.Silent();
    Decision connection = view.decide(dst, read);
    Optional<Request> decided =
        connection instanceof Decision.PerRequest ? request : Optional.empty();
    Decision decision =
        decided.map(r -> view.decide(dst, r)).orElseGet(() -> connection.named(preface));
    List<Explanation.Weighted> weighted =
        view instanceof PolicyView policy
            ? policy.weighted(dst, read, decided).stream()
                .map(w -> new Explanation.Weighted(w.weight(), w.decision().named(preface)))
                .toList()
            : List.of();
    Optional<String> winner =
        decision instanceof Decision.Forward forward
            ? Optional.of(forward.to().host() + " " + forward.to().namespace())
            : Optional.empty();
    List<Explanation.Considered> considered = new ArrayList<>();
    ViewKey key = key(pod);
    Reasons reasons = new Reasons(key.namespace, key.sidecar, dst, preface, decision);
    Map<HostOf, Service> visible = new HashMap<>();
    visible(key).forEach(s -> visible.put(new HostOf(s.ref(), s.host()), s));
    for (Service service : services) {
      if (considered.size() >= MOST_CONSIDERED) {
        break;
      }
      boolean won = winner.equals(Optional.of(service.host().text() + " " + service.namespace()));
      if (!won) {
        @Nullable Service seen = visible.get(new HostOf(service.ref(), service.host()));
        reasons
            .of(service, Optional.ofNullable(seen))
            .ifPresent(reason ->
                considered.add(
                    new Explanation.Considered(service.ref(), service.host().text(), reason)));
      }
    }
    if (decision instanceof Decision.Forward forward) {
      considered.addAll(
          routing.rulesFor(
              key.namespace,
              key.selecting,
              forward.to().namespace(),
              forward.to().host(),
              MOST_CONSIDERED));
    }
    Optional<HostName> name = decided.flatMap(Request::host).or(() -> Reasons.name(preface));
    return new Explanation(
        decision,
        weighted,
        considered,
        applied(key, dst.port(), name, decision, weighted),
        refusal(decision).filter(Remedy::mayLift).isPresent()
            ? remedies(key, byHost()).of(name, dst, preface, Reasons.resource(decision))
            : Optional.empty());
  }

  /// Routes of what the client names, rules of where it goes, the Sidecar for what is unknown.
  private List<Explanation.Applied> applied(
      ViewKey key,
      int port,
      Optional<HostName> name,
      Decision decision,
      List<Explanation.Weighted> weighted) {
    boolean decided = Reasons.resource(decision).isPresent();
    if (!decided && decision instanceof Decision.Passthrough) {
      return saysOfUnknown(key);
    }
    Optional<Refusal> why = refusal(decision);
    if (why.isPresent()
        && (why.get() == Refusal.CONNECTION_CLOSED || why.get() == Refusal.HTTP_502)) {
      return decided ? List.of() : saysOfUnknown(key);
    }
    ClientRouting rules = rules(key);
    List<Service> visible = visible(key);
    Set<Explanation.Applied> out = new LinkedHashSet<>();
    name.flatMap(n ->
            visible.stream()
                .filter(s -> s.host().covers(n) && s.port(port).isPresent())
                .min(Comparator.comparing(s -> HostScope.of(s.host()), HostScope.SPECIFICITY)))
        .ifPresent(service -> out.addAll(rules.routing(service)));
    List<Decision> leads =
        new ArrayList<>(weighted.stream().map(Explanation.Weighted::decision).toList());
    leads.add(decision);
    for (Decision lead : leads) {
      if (lead instanceof Decision.Forward forward) {
        visible.stream()
            .filter(s ->
                s.host().text().equals(forward.to().host())
                    && s.namespace().equals(forward.to().namespace()))
            .forEach(s -> out.addAll(rules.applied(s, forward.to().port())));
      }
    }
    return List.copyOf(out);
  }

  /// The Sidecar, where it and not the mesh says what becomes of unknown destinations.
  private List<Explanation.Applied> saysOfUnknown(ViewKey key) {
    return sidecar(key)
        .flatMap(s ->
            s.outbound()
                .map(o ->
                    new Explanation.Applied(
                        s.ref(), "*", "says " + o.mode() + " of unknown destinations")))
        .stream()
        .toList();
  }

  /// Why the decision refuses, or would without audit.
  private static Optional<Refusal> refusal(Decision decision) {
    return switch (decision) {
      case Decision.Refuse refuse -> Optional.of(refuse.why());
      case Decision.Passthrough pass -> pass.wouldBlock();
      case Decision.Forward _, Decision.ByName _, Decision.ToWaypoint _, Decision.PerRequest _ ->
          Optional.empty();
    };
  }

  private Map<HostPattern, List<Service>> byHost() {
    Map<HostPattern, List<Service>> out = new HashMap<>(services.size() * 2);
    services.forEach(s -> out.computeIfAbsent(s.host(), _ -> new ArrayList<>(1)).add(s));
    return out;
  }

  private Remedies remedies(ViewKey key, Map<HostPattern, List<Service>> byHost) {
    Optional<Sidecar> sidecar = sidecar(key);
    return new Remedies(
        key.namespace,
        byHost,
        sidecar,
        sidecar.isPresent() ? routing.imports(Optional.of(key.namespace)) : List.of());
  }

  /// One index for all clients: a view of each would cost what the whole policy does.
  @Override
  public Advisor advisor() {
    Map<HostPattern, List<Service>> byHost = byHost();
    Map<ViewKey, Remedies> known = new HashMap<>();
    return (pod, dst, preface, refusing) ->
        known
            .computeIfAbsent(key(pod), k -> remedies(k, byHost))
            .of(Reasons.name(preface), dst, preface, refusing);
  }

  private record HostOf(ResourceRef ref, HostPattern host) {}
}
