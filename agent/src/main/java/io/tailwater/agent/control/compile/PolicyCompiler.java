package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.allocate.AddressAllocator;
import io.tailwater.agent.control.istio.DestinationRule;
import io.tailwater.agent.control.istio.DestinationRuleReader;
import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.istio.KubeSecret;
import io.tailwater.agent.control.istio.KubeSecretReader;
import io.tailwater.agent.control.istio.KubeService;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.control.istio.Namespaces;
import io.tailwater.agent.control.istio.ServiceEntry;
import io.tailwater.agent.control.istio.ServiceEntryReader;
import io.tailwater.agent.control.istio.VirtualService;
import io.tailwater.agent.control.istio.VirtualServiceReader;
import io.tailwater.agent.control.source.KubeObject;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.control.source.ResourceKey;
import io.tailwater.agent.control.source.ResourceSet;
import io.tailwater.agent.dataplane.route.Action;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.OutboundPolicy;
import io.tailwater.agent.dataplane.route.RouteTable;
import io.tailwater.agent.dataplane.route.UpstreamHttp;
import io.tailwater.agent.dataplane.route.UpstreamTls;
import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.CidrBlock;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.HostPattern;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/// Makes one immutable `RouteTable` of one `ResourceSet`. One writer: one thread at a time.
///
/// A bad resource does not block the others: it is reported, and its last good version stays in
/// force as long as the resource exists. What was parsed once is kept with its object, so that a
/// change costs what changed plus one pass over the hosts.
public final class PolicyCompiler {
  private static final int HTTP_PORT = 80;
  private static final int HTTPS_PORT = 443;

  private final MeshSettings mesh;
  private final EgressSettings egress;
  private final DnsAnswers dns;
  private final ReadResources<ServiceEntry> entries;
  private final ReadResources<KubeSecret> secrets = new ReadResources<>(KubeSecretReader::secret);
  private final ReadResources<KubeSecret> configMaps =
      new ReadResources<>(KubeSecretReader::configMap);
  private final ClusterResources cluster = new ClusterResources();
  private final ReadResources<DestinationRule> rules =
      new ReadResources<>(DestinationRuleReader::read);
  private final ReadResources<VirtualService> routes =
      new ReadResources<>(VirtualServiceReader::read);
  private final Map<String, EgressMode> lastModes = new HashMap<>();
  private long generation;
  private @Nullable CompiledRoutes last;

  /// What compiling came to: the table, the Secrets that it may name, and every problem of sources
  /// and resources, sorted.
  public record Compiled(RouteTable table, List<KubeSecret> secrets, List<Problem> problems) {
    public Compiled {
      secrets = List.copyOf(secrets);
      problems = problems.stream().sorted().distinct().toList();
    }

    /// Whether there is an error among the problems.
    public boolean hasErrors() {
      return problems.stream().anyMatch(Problem::isError);
    }
  }

  public PolicyCompiler(MeshSettings mesh, EgressSettings egress) {
    this(mesh, egress, false);
  }

  /// @param allocated whether captured DNS answers with the addresses that a control plane
  ///   allocated, so that they name services
  public PolicyCompiler(MeshSettings mesh, EgressSettings egress, boolean allocated) {
    this(mesh, egress, allocated ? new DnsAnswers.Given() : new DnsAnswers.NotCaptured());
  }

  /// @param dns what captured DNS answers with
  public PolicyCompiler(MeshSettings mesh, EgressSettings egress, DnsAnswers dns) {
    this.mesh = mesh;
    this.egress = egress;
    this.dns = dns;
    this.entries =
        new ReadResources<>(
            (object, problems) -> ServiceEntryReader.read(object, mesh.rootNamespace(), problems));
  }

  /// Compiles. The set's own problems are among the result's.
  public Compiled compile(ResourceSet set) {
    return compile(set, Optional.empty());
  }

  /// Compiles, and says besides what Istio accepts and hardly anybody means.
  ///
  /// @param podNamespaces where pods live that the set does not hold
  public Compiled check(ResourceSet set, Set<String> podNamespaces) {
    return compile(set, Optional.of(podNamespaces));
  }

  private Compiled compile(ResourceSet set, Optional<Set<String>> advise) {
    List<Problem> problems = new ArrayList<>(set.problems());
    Namespaces namespaces =
        Namespaces.read(set.ofKind("", "Namespace"), egress, lastModes, problems);
    List<ServiceEntry> read =
        entries.of(set.ofKind("networking.istio.io", "ServiceEntry"), problems);
    List<DestinationRule> ruled =
        rules.of(set.ofKind("networking.istio.io", "DestinationRule"), problems);
    List<VirtualService> routed =
        routes.of(set.ofKind("networking.istio.io", "VirtualService"), problems);
    Set<ResourceRef> understood = new HashSet<>();
    ruled.forEach(r -> understood.add(r.ref()));
    routed.forEach(r -> understood.add(r.ref()));
    NotYetHonoured rest = NotYetHonoured.read(set, mesh, understood, problems);
    RoutingRules routing = new RoutingRules(ruled, routed, read, mesh.rootNamespace());
    ClusterResources.Read around =
        cluster
            .read(set, namespaces, mesh.rootNamespace(), problems)
            .with(routing.imports(Optional.empty()));
    List<Service> services =
        services(
            addressed(
                read.stream().sorted(Service.ENTRY_AGE).toList(), around.services(), set, problems),
            around);
    for (ServiceEntry entry : read) {
      warnOfEntry(entry, set, problems);
    }
    ClusterWarnings.add(set, around, services, problems);
    advise.ifPresent(pods ->
        problems.addAll(
            Advice.on(new Advice.About(set, mesh, read, services, ruled, routed, pods))));
    CompiledRoutes table =
        new CompiledRoutes(++generation, outbound(), dns, around, services, routing, rest, last);
    last = table;
    List<KubeSecret> credentials = new ArrayList<>(secrets.of(set.ofKind("", "Secret"), problems));
    credentials.addAll(configMaps.of(set.ofKind("", "ConfigMap"), problems));
    return new Compiled(table, credentials, problems);
  }

  /// The entries with the addresses that we allocate for them.
  private List<ServiceEntry> addressed(
      List<ServiceEntry> oldestFirst,
      List<KubeService> services,
      ResourceSet set,
      List<Problem> problems) {
    if (!(dns instanceof DnsAnswers.Own(AddressAllocator allocator, _))) {
      return oldestFirst;
    }
    List<CidrBlock> written =
        services.stream().flatMap(s -> s.addresses().stream()).map(CidrBlock::of).toList();
    AddressAllocator.Assigned assigned = allocator.assign(oldestFirst, written);
    for (ServiceEntry entry : assigned.without()) {
      object(entry, set)
          .ifPresent(o ->
              problems.add(
                  Problem.of(
                      Problem.Severity.WARNING,
                      o,
                      "gets no address of its own, because all that can be allocated are taken: its"
                          + " ports without a name take every connection to them; set addresses")));
    }
    return assigned.entries();
  }

  private static Optional<KubeObject> object(ServiceEntry entry, ResourceSet set) {
    return set.get(
        new ResourceKey("networking.istio.io", "ServiceEntry", entry.namespace(), entry.name()));
  }

  private OutboundPolicy outbound() {
    return switch (mesh.outboundTrafficPolicy()) {
      case ALLOW_ANY -> new OutboundPolicy.AllowAny();
      case REGISTRY_ONLY -> new OutboundPolicy.RegistryOnly();
      case ALLOW_ANY_DYNAMIC_DNS -> new OutboundPolicy.AllowAnyDynamicDns(byAnyHost());
    };
  }

  /// Unknown HTTP by its Host. Who owns such a name may be a stranger, as with an external
  /// wildcard.
  private Action.ByName byAnyHost() {
    Optional<UpstreamTls> tls = mesh.outboundTls().flatMap(PolicyCompiler::byRequestedName);
    int port = tls.isPresent() ? HTTPS_PORT : HTTP_PORT;
    Decision.Destination to =
        new Decision.Destination(
            Decision.ALLOW_ANY_DYNAMIC_DNS,
            Decision.ALLOW_ANY_DYNAMIC_DNS,
            "",
            port,
            UpstreamHttp.CLIENTS,
            ConnectionPolicy.DEFAULT.with(tls));
    AddressRule rule =
        new AddressRule(AddressRule.Scope.NEVER_LIST_AND_PRIVATE, egress.allowedAddresses());
    ResourceRef ref = new ResourceRef("MeshConfig", mesh.rootNamespace(), "istio");
    return new Action.ByName(
        new Decision.ByName(to, port, rule, ref, false),
        new Decision.ByName(to, port, rule, ref, true),
        List.of(),
        true);
  }

  /// TLS to whatever name is requested: the certificate must carry it, unless it is not verified at
  /// all.
  private static Optional<UpstreamTls> byRequestedName(DestinationRule.Tls tls) {
    Optional<UpstreamTls.Mode> mode =
        switch (tls.mode()) {
          case DISABLE -> Optional.empty();
          case SIMPLE -> Optional.of(UpstreamTls.Mode.SIMPLE);
          case MUTUAL -> Optional.of(UpstreamTls.Mode.MUTUAL);
          case ISTIO_MUTUAL -> Optional.of(UpstreamTls.Mode.ISTIO_MUTUAL);
        };
    return mode.map(m ->
        new UpstreamTls(
            m,
            tls.sni(),
            tls.subjectAltNames(),
            !tls.insecureSkipVerify(),
            tls.caCertificates(),
            tls.clientCertificate(),
            tls.privateKey(),
            tls.credentialName(),
            tls.insecureSkipVerify(),
            "TLSv1.2",
            "TLSv1.3",
            List.of()));
  }

  private record HostOf(String namespace, HostPattern host) {}

  private List<Service> services(List<ServiceEntry> oldestFirst, ClusterResources.Read around) {
    Map<HostOf, List<ServiceEntry>> byHost = new LinkedHashMap<>(oldestFirst.size() * 2);
    for (ServiceEntry entry : oldestFirst) {
      for (HostPattern host : entry.hosts()) {
        byHost
            .computeIfAbsent(new HostOf(entry.namespace(), host), _ -> new ArrayList<>(1))
            .add(entry);
      }
    }
    Service.Context context =
        new Service.Context() {
          @Override
          public MeshSettings mesh() {
            return mesh;
          }

          @Override
          public EgressSettings egress() {
            return egress;
          }

          @Override
          public Namespaces namespaces() {
            return around.namespaces();
          }

          @Override
          public Waypoints waypoints() {
            return around.waypoints();
          }

          @Override
          public Workloads workloads() {
            return around.workloads();
          }
        };
    List<Service> out = new ArrayList<>(byHost.size());
    byHost.forEach((key, named) -> out.add(Service.merge(key.host(), named, context)));
    for (KubeService service : around.services()) {
      out.add(KubernetesServices.service(service, mesh, around.workloads(), around.waypoints()));
    }
    out.sort(Service.AGE);
    return out;
  }

  /// What of a valid entry is not honoured by this version.
  private static void warnOfEntry(ServiceEntry entry, ResourceSet set, List<Problem> problems) {
    Set<String> what = new HashSet<>();
    if (entry.endpoints().stream().anyMatch(e -> e.place() instanceof ServiceEntry.Place.Unix)) {
      what.add("unix:// endpoints are not dialled yet");
    }
    if (what.isEmpty()) {
      return;
    }
    object(entry, set)
        .ifPresent(o ->
            what.stream()
                .sorted()
                .forEach(text ->
                    problems.add(
                        new Problem(
                            Problem.Severity.WARNING,
                            o.file(),
                            o.line(),
                            Optional.of(entry.ref()),
                            "spec",
                            text
                                + "; under REGISTRY_ONLY its connections are refused"
                                + " (not_supported_yet)"))));
  }
}
