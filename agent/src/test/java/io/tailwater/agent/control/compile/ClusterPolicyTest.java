package io.tailwater.agent.control.compile;

import static io.tailwater.agent.control.compile.Policies.REGISTRY_ONLY;
import static io.tailwater.agent.control.compile.Policies.cluster;
import static io.tailwater.agent.control.compile.Policies.decide;
import static io.tailwater.agent.control.compile.Policies.dst;
import static io.tailwater.agent.control.compile.Policies.http;
import static io.tailwater.agent.control.compile.Policies.tls;
import static io.tailwater.agent.control.compile.Policies.tlsEntry;
import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.agent.traffic.Refusal;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/// What Sidecars, Kubernetes' own kinds and waypoints make of the entries.
class ClusterPolicyTest {
  private static final EgressSettings ENFORCE = EgressSettings.DEFAULTS;
  private static final String WIKI =
      tlsEntry("istio-system", "wiki", "*.wikipedia.org", "resolution: DYNAMIC_DNS");

  private static String object(String group, String kind, String metadata, String spec) {
    return "apiVersion: "
        + group
        + "\nkind: "
        + kind
        + "\nmetadata: {"
        + metadata
        + "}\nspec: "
        + spec
        + "\n";
  }

  private static String sidecar(String metadata, String spec) {
    return object("networking.istio.io/v1", "Sidecar", metadata, spec);
  }

  private static String service(String name, String namespace, String spec) {
    return object("v1", "Service", "name: " + name + ", namespace: " + namespace, spec);
  }

  private static String pod(String name, String namespace, String labels, String ip) {
    return object(
            "v1",
            "Pod",
            "name: " + name + ", namespace: " + namespace + ", labels: " + labels,
            "{}")
        + "status: {podIP: "
        + ip
        + ", conditions: [{type: Ready, status: \"True\"}]}\n";
  }

  private static PolicyCompiler.Compiled strict(String... yaml) {
    return Policies.compile(REGISTRY_ONLY, ENFORCE, yaml);
  }

  private static List<String> texts(PolicyCompiler.Compiled compiled) {
    return compiled.problems().stream().map(Problem::text).toList();
  }

  private static Refusal why(Decision decision) {
    assertThat(decision).isInstanceOf(Decision.Refuse.class);
    return ((Decision.Refuse) decision).why();
  }

  private static List<String> addresses(Decision decision) {
    assertThat(decision).isInstanceOf(Decision.Forward.class);
    return ((Target.Endpoints) ((Decision.Forward) decision).target())
        .endpoints().stream()
            .map(e -> ((Target.Endpoint.Address) e).address())
            .map(a -> a.getAddress().getHostAddress() + ":" + a.getPort())
            .toList();
  }

  // ---- Sidecar -----------------------------------------------------------------------------

  @Test
  void aSidecarHidesWhatItDoesNotImport() {
    var compiled = strict(WIKI, sidecar("name: s, namespace: x", "{egress: [{hosts: [\"./*\"]}]}"));

    assertThat(why(decide(compiled, "x", "en.wikipedia.org"))).isEqualTo(Refusal.CONNECTION_CLOSED);
    assertThat(decide(compiled, "y", "en.wikipedia.org")).isInstanceOf(Decision.Forward.class);
    var explanation =
        compiled
            .table()
            .explain(Policies.pod("x"), dst("203.0.113.250", 443), tls("en.wikipedia.org"));
    assertThat(explanation.considered())
        .singleElement()
        .extracting(c -> c.why())
        .isEqualTo("is not imported by Sidecar/x/s");
  }

  @Test
  void theOldestSidecarThatSelectsAPodIsItsOwn() {
    String select = "{workloadSelector: {labels: {app: client}}, egress: [{hosts: [\"%s\"]}]}";
    var compiled =
        strict(
            WIKI,
            sidecar(
                "name: young, namespace: x, creationTimestamp: \"2026-01-02T00:00:00Z\"",
                select.formatted("~/*")),
            sidecar(
                "name: old, namespace: x, creationTimestamp: \"2026-01-01T00:00:00Z\"",
                select.formatted("*/*")),
            sidecar("name: wide, namespace: x", "{egress: [{hosts: [\"~/*\"]}]}"));

    assertThat(decide(compiled, "x", "en.wikipedia.org")).isInstanceOf(Decision.Forward.class);
    Pod other = new Pod(new PodRef("x", "other"), "default", Map.of("app", "z"), List.of());
    ClientView view = compiled.table().view(other);
    assertThat(why(view.decide(dst("203.0.113.250", 443), tls("en.wikipedia.org"))))
        .isEqualTo(Refusal.CONNECTION_CLOSED);
  }

  @Test
  void aSidecarOfTheRootNamespaceWithASelectorIsForThatNamespaceAlone() {
    var compiled =
        strict(
            WIKI,
            sidecar(
                "name: s, namespace: istio-system",
                "{workloadSelector: {labels: {app: client}}, egress: [{hosts: [\"~/*\"]}]}"));

    assertThat(decide(compiled, "x", "en.wikipedia.org")).isInstanceOf(Decision.Forward.class);
    assertThat(decide(compiled, "istio-system", "en.wikipedia.org"))
        .isInstanceOf(Decision.Refuse.class);
  }

  @Test
  void theDotOfARootSidecarIsTheClientsNamespace() {
    var compiled =
        strict(
            WIKI,
            tlsEntry("x", "api", "api.example.com", "resolution: DNS"),
            sidecar("name: s, namespace: istio-system", "{egress: [{hosts: [\"./*\"]}]}"));

    assertThat(decide(compiled, "x", "api.example.com")).isInstanceOf(Decision.Forward.class);
    assertThat(decide(compiled, "x", "en.wikipedia.org")).isInstanceOf(Decision.Refuse.class);
    assertThat(decide(compiled, "y", "api.example.com")).isInstanceOf(Decision.Refuse.class);
  }

  @Test
  void theTrafficPolicyOfASidecarReplacesTheMeshsWhole() {
    var empty =
        Policies.compile(
            MeshSettings.DEFAULTS,
            ENFORCE,
            sidecar("name: s, namespace: x", "{outboundTrafficPolicy: {}}"));
    assertThat(why(decide(empty, "x", "unknown.example"))).isEqualTo(Refusal.CONNECTION_CLOSED);
    assertThat(decide(empty, "y", "unknown.example")).isInstanceOf(Decision.Passthrough.class);

    var open =
        strict(sidecar("name: s, namespace: x", "{outboundTrafficPolicy: {mode: ALLOW_ANY}}"));
    assertThat(decide(open, "x", "unknown.example")).isInstanceOf(Decision.Passthrough.class);
    assertThat(decide(open, "y", "unknown.example")).isInstanceOf(Decision.Refuse.class);
  }

  @Test
  void aSidecarThatCannotBeReadRestrictsAllTheSame() {
    var compiled =
        Policies.compile(
            MeshSettings.DEFAULTS,
            ENFORCE,
            WIKI,
            sidecar("name: s, namespace: x", "{outboundTrafficPolicy: ALLOW_ANY}"));

    assertThat(compiled.hasErrors()).isTrue();
    assertThat(decide(compiled, "x", "en.wikipedia.org")).isInstanceOf(Decision.Refuse.class);
    assertThat(decide(compiled, "x", "unknown.example")).isInstanceOf(Decision.Refuse.class);
    assertThat(decide(compiled, "y", "en.wikipedia.org")).isInstanceOf(Decision.Forward.class);
  }

  @Test
  void onlyPortListenersLeaveOtherPortsWithNothing() {
    String entry =
        """
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: api, namespace: x}
        spec:
          hosts: [api.example.com]
          ports: [{number: 443, name: tls, protocol: TLS}, {number: 8443, name: alt, protocol: TLS}]
          resolution: DNS
        """;
    var compiled =
        strict(
            entry,
            sidecar(
                "name: s, namespace: x",
                "{egress: [{port: {number: 443, protocol: TLS}, hosts: [\"./*\"]}]}"));

    assertThat(decide(compiled, "x", "api.example.com")).isInstanceOf(Decision.Forward.class);
    assertThat(decide(compiled, "x", dst("203.0.113.1", 8443), tls("api.example.com")))
        .isInstanceOf(Decision.Refuse.class);
  }

  @Test
  void aPortListenerSaysWhatIsSpokenAndWhere() {
    var compiled =
        strict(
            tlsEntry("x", "api", "api.example.com", "resolution: DNS"),
            sidecar(
                "name: s, namespace: x",
                "{egress: [{port: {number: 443, protocol: TCP}, bind: 192.0.2.1, hosts:"
                    + " [\"./*\"]}]}"));

    assertThat(cluster(decide(compiled, "x", dst("192.0.2.1", 443), new Preface.Opaque())))
        .isEqualTo("outbound|443||api.example.com");
    assertThat(decide(compiled, "x", dst("192.0.2.2", 443), tls("api.example.com")))
        .isInstanceOf(Decision.Refuse.class);
  }

  @Test
  void podsOfOneSidecarShareAViewAcrossCompiles() {
    PolicyCompiler compiler = new PolicyCompiler(REGISTRY_ONLY, ENFORCE);
    var set =
        Policies.set(WIKI, sidecar("name: s, namespace: x", "{egress: [{hosts: [\"./*\"]}]}"));
    var table = compiler.compile(set).table();

    Pod one = new Pod(new PodRef("x", "one"), "default", Map.of("a", "b"), List.of());
    assertThat(table.view(one)).isSameAs(table.view(Policies.pod("x")));
    assertThat(table.view(one)).isNotSameAs(table.view(Policies.pod("y")));
    assertThat(compiler.compile(set).table().view(one)).isNotSameAs(table.view(one));
  }

  @Test
  void theInternalWildcardReachesEveryServiceThatTheSidecarHides() {
    String internal =
        """
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: internal, namespace: istio-system}
        spec:
          hosts: ["*.svc.cluster.local"]
          ports: [{number: 9080, name: http, protocol: HTTP}]
          location: MESH_INTERNAL
          resolution: DYNAMIC_DNS
        """;
    String[] services =
        List.of("details", "reviews", "ratings").stream()
            .map(n ->
                service(
                    n,
                    n,
                    "{clusterIP: 10.96.0."
                        + n.length()
                        + ", ports: [{name: http, port: 9080}], selector: {app: x}}"))
            .toArray(String[]::new);
    var compiled =
        strict(
            internal,
            String.join("---\n", services),
            sidecar(
                "name: s, namespace: istio-system", "{egress: [{hosts: [\"istio-system/*\"]}]}"));

    for (String name : List.of("details", "reviews", "ratings")) {
      Decision decision =
          decide(
              compiled,
              "shop",
              dst("10.96.0." + name.length(), 9080),
              http(name + "." + name + ".svc.cluster.local"));
      assertThat(cluster(decision)).isEqualTo("outbound|9080||*.svc.cluster.local");
      assertThat(((Decision.Forward) decision).upstreamHost())
          .isEqualTo(name + "." + name + ".svc.cluster.local");
    }
    assertThat(why(decide(compiled, "shop", dst("10.96.0.7", 9080), http("api.example.com"))))
        .isEqualTo(Refusal.HTTP_502);
  }

  @Test
  void unknownTrafficGoesThroughTheEgressProxyThatASidecarNames() {
    String proxy =
        """
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: proxy, namespace: egress}
        spec:
          hosts: [proxy.corp.example]
          ports: [{number: 3128, name: tcp, protocol: TCP}]
          addresses: [192.0.2.90]
          resolution: STATIC
          endpoints: [{address: 192.0.2.91}]
        """;
    String named =
        sidecar(
            "name: s, namespace: x",
            "{egress: [{hosts: [\"./*\"]}], outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy:"
                + " {host: proxy.corp.example, port: {number: %s}}}}");
    var compiled = strict(proxy, named.formatted("3128"));

    assertThat(cluster(decide(compiled, "x", "unknown.example")))
        .isEqualTo("outbound|3128||proxy.corp.example");
    assertThat(addresses(decide(compiled, "x", dst("203.0.113.1", 25), new Preface.Silent())))
        .containsExactly("192.0.2.91:3128");
    assertThat(why(decide(compiled, "y", "unknown.example"))).isEqualTo(Refusal.CONNECTION_CLOSED);
    assertThat(why(decide(strict(proxy, named.formatted("1")), "x", "unknown.example")))
        .isEqualTo(Refusal.CLUSTER_NOT_FOUND);
  }

  @Test
  void whatSidecarsAreHardlyMeantForIsWarnedOf() {
    var compiled =
        strict(
            WIKI,
            tlsEntry("other", "api", "api.example.com", "resolution: DNS\nexportTo: [\".\"]"),
            tlsEntry("x", "own", "own.example.com", "resolution: DNS"),
            sidecar(
                "name: s, namespace: x",
                "{egress: [{hosts: [\"other/api.example.com\", \"*/en.wikipedia.org\","
                    + " \"other/none.example\", \"istio-system/*\"]}]}"));

    assertThat(texts(compiled))
        .anyMatch(
            t -> t.contains("hosts[0]: imports nothing: ServiceEntry/other/api is not exported"))
        .anyMatch(t -> t.contains("hosts[1]: imports nothing: it is narrower than *.wikipedia.org"))
        .anyMatch(t -> t.contains("hosts[2]: imports nothing: there is no such service"))
        .anyMatch(t ->
            t.contains(
                "ServiceEntry/x/own: is hidden from the pods of its own namespace by"
                    + " Sidecar/x/s"))
        .noneMatch(t -> t.contains("hosts[3]"));
  }

  // ---- Services, pods, workloads -----------------------------------------------------------

  private static final String WEB =
      service(
          "web",
          "shop",
          "{clusterIP: 10.96.0.9, ports: [{name: http, port: 80, targetPort: 8080}, {name: tls-x,"
              + " port: 443, targetPort: alt}], selector: {app: web}}");

  @Test
  void aServiceIsToldByItsVipWhateverTheClientSays() {
    var compiled = strict(WEB, WIKI, pod("web-1", "shop", "{app: web}", "10.1.0.21"));

    assertThat(compiled.table().view(Policies.pod("x")).ask(dst("10.96.0.9", 80)))
        .isEqualTo(ClientView.Ask.NOTHING);
    assertThat(addresses(decide(compiled, "x", dst("10.96.0.9", 80), new Preface.Silent())))
        .containsExactly("10.1.0.21:8080");
    assertThat(why(decide(compiled, "x", dst("10.96.0.9", 443), tls("en.wikipedia.org"))))
        .isEqualTo(Refusal.NO_HEALTHY_UPSTREAM);
    assertThat(why(decide(compiled, "x", dst("10.96.0.9", 81), new Preface.Opaque())))
        .isEqualTo(Refusal.NO_HEALTHY_UPSTREAM);
  }

  @Test
  void aNamedTargetPortIsThePodsOwn() {
    String pod =
        pod("web-1", "shop", "{app: web}", "10.1.0.21")
            .replace(
                "spec: {}", "spec: {containers: [{ports: [{name: alt, containerPort: 9443}]}]}");
    var compiled = strict(WEB, pod);

    assertThat(addresses(decide(compiled, "x", dst("10.96.0.9", 443), new Preface.Opaque())))
        .containsExactly("10.1.0.21:9443");
  }

  @Test
  void endpointsComeFromSlicesWhereThereAreAny() {
    String slice =
        """
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
        addressType: IPv4
        endpoints:
          - {addresses: [10.1.0.31]}
          - {addresses: [10.1.0.32], conditions: {ready: false}}
        ports: [{name: http, port: 8081}]
        """;
    var compiled = strict(WEB, slice, pod("web-1", "shop", "{app: web}", "10.1.0.21"));

    assertThat(addresses(decide(compiled, "x", dst("10.96.0.9", 80), new Preface.Opaque())))
        .containsExactly("10.1.0.31:8081");
    assertThat(why(decide(compiled, "x", dst("10.96.0.9", 443), new Preface.Opaque())))
        .isEqualTo(Refusal.NO_HEALTHY_UPSTREAM);
  }

  @Test
  void anHttpServiceHasShortNamesAndTheShortestIsTheClientsOwn() {
    String other =
        service(
            "web",
            "other",
            "{clusterIP: 10.96.0.10, ports: [{name: http, port: 80}], selector: {app: web}}");
    var compiled =
        strict(
            WEB,
            other,
            pod("web-1", "shop", "{app: web}", "10.1.0.21"),
            pod("web-1", "other", "{app: web}", "10.1.0.22"));
    var elsewhere = dst("203.0.113.1", 80);

    for (String host : List.of("web.shop", "web.shop.svc", "web.shop.svc.cluster.local")) {
      assertThat(cluster(decide(compiled, "x", elsewhere, http(host))))
          .as(host)
          .isEqualTo("outbound|80||web.shop.svc.cluster.local");
    }
    assertThat(cluster(decide(compiled, "shop", elsewhere, http("web"))))
        .isEqualTo("outbound|80||web.shop.svc.cluster.local");
    assertThat(cluster(decide(compiled, "other", elsewhere, http("web"))))
        .isEqualTo("outbound|80||web.other.svc.cluster.local");
    assertThat(why(decide(compiled, "x", elsewhere, http("web")))).isEqualTo(Refusal.HTTP_502);
  }

  @Test
  void aHiddenServicesVipIsAnAddressLikeAnyOther() {
    String hidden =
        WEB.replace(
            "namespace: shop}",
            "namespace: shop, annotations: {networking.istio.io/exportTo: \".\"}}");
    var compiled = strict(hidden, WIKI, pod("web-1", "shop", "{app: web}", "10.1.0.21"));

    assertThat(cluster(decide(compiled, "x", dst("10.96.0.9", 443), tls("en.wikipedia.org"))))
        .isEqualTo("outbound|443||*.wikipedia.org");
    assertThat(why(decide(compiled, "x", dst("10.96.0.9", 80), new Preface.Opaque())))
        .isEqualTo(Refusal.CONNECTION_CLOSED);
    assertThat(addresses(decide(compiled, "shop", dst("10.96.0.9", 80), new Preface.Opaque())))
        .containsExactly("10.1.0.21:8080");
  }

  @Test
  void podsAndWorkloadsAreKnownByTheirAddress() {
    String vm =
        object(
            "networking.istio.io/v1",
            "WorkloadEntry",
            "name: vm, namespace: shop",
            "{address: 192.0.2.7}");
    String ended =
        pod("job", "shop", "{}", "10.1.0.50").replace("status: {", "status: {phase: Failed, ");
    var compiled = strict(WEB, vm, WIKI, pod("web-1", "shop", "{app: web}", "10.1.0.21"), ended);

    assertThat(addresses(decide(compiled, "x", dst("10.1.0.21", 5432), new Preface.Opaque())))
        .containsExactly("10.1.0.21:5432");
    assertThat(addresses(decide(compiled, "x", dst("192.0.2.7", 22), new Preface.Silent())))
        .containsExactly("192.0.2.7:22");
    assertThat(why(decide(compiled, "x", dst("10.1.0.50", 22), new Preface.Silent())))
        .isEqualTo(Refusal.CONNECTION_CLOSED);
    // The name decides for an entry, never for a Service, where a pod was dialled.
    assertThat(cluster(decide(compiled, "x", dst("10.1.0.21", 443), tls("en.wikipedia.org"))))
        .isEqualTo("outbound|443||*.wikipedia.org");
    assertThat(addresses(decide(compiled, "x", dst("10.1.0.21", 80), http("web.shop"))))
        .containsExactly("10.1.0.21:80");
  }

  @Test
  void aHeadlessServiceIsFoundByHostAndItsPodsByAddress() {
    String headless =
        service(
            "db",
            "shop",
            "{clusterIP: None, ports: [{name: http, port: 80}], selector: {app: db}}");
    var compiled =
        strict(
            headless,
            pod("db-0", "shop", "{app: db}", "10.1.0.41"),
            pod("db-1", "shop", "{app: db}", "10.1.0.42"));

    assertThat(addresses(decide(compiled, "x", dst("203.0.113.1", 80), http("db.shop"))))
        .containsExactlyInAnyOrder("10.1.0.41:80", "10.1.0.42:80");
    assertThat(addresses(decide(compiled, "x", dst("10.1.0.42", 80), http("db.shop"))))
        .containsExactly("10.1.0.42:80");
  }

  @Test
  void anExternalNameStandsForTheServiceOfThatHost() {
    String alias =
        service(
            "shop-web",
            "x",
            "{type: ExternalName, externalName: web.shop.svc.cluster.local, ports: [{name: http,"
                + " port: 80}]}");
    String nowhere =
        service(
            "out",
            "x",
            "{type: ExternalName, externalName: a.example, ports: [{name: http, port:" + " 80}]}");
    var compiled = strict(WEB, alias, nowhere, pod("web-1", "shop", "{app: web}", "10.1.0.21"));

    assertThat(cluster(decide(compiled, "x", dst("203.0.113.1", 80), http("shop-web.x"))))
        .isEqualTo("outbound|80||web.shop.svc.cluster.local");
    assertThat(why(decide(compiled, "x", dst("203.0.113.1", 80), http("out.x"))))
        .isEqualTo(Refusal.HTTP_502);
  }

  @Test
  void aWorkloadSelectorTakesReadyPodsAndWorkloadsOfItsNamespace() {
    String entry =
        """
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: vm, namespace: shop}
        spec:
          hosts: [vm.example.com]
          ports: [{number: 443, name: tls, protocol: TLS, targetPort: 8443}]
          location: MESH_INTERNAL
          resolution: STATIC
          workloadSelector: {labels: {app: vm}}
        """;
    String vm =
        object(
            "networking.istio.io/v1",
            "WorkloadEntry",
            "name: vm, namespace: %s",
            "{address: %s, labels: {app: vm}, ports: {tls: %s}}");
    String unready = pod("vm-2", "shop", "{app: vm}", "10.1.0.62").replace("\"True\"", "\"False\"");
    var compiled =
        strict(
            entry,
            vm.formatted("shop", "192.0.2.7", "9443"),
            vm.formatted("other", "192.0.2.8", "9443"),
            pod("vm-1", "shop", "{app: vm}", "10.1.0.61"),
            unready);

    assertThat(addresses(decide(compiled, "x", "vm.example.com")))
        .containsExactlyInAnyOrder("192.0.2.7:9443", "10.1.0.61:8443");
  }

  // ---- waypoints ---------------------------------------------------------------------------

  private static String gateway(String labels, String routes, String status) {
    return object(
            "gateway.networking.k8s.io/v1",
            "Gateway",
            "name: way, namespace: istio-system, labels: {" + labels + "}",
            "{gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol:"
                + " HBONE"
                + routes
                + "}]}")
        + "status: "
        + status
        + "\n";
  }

  private static final String READY = "{addresses: [{value: 10.96.0.15}]}";
  private static final String BOUND =
      WIKI.replace(
          "namespace: istio-system}",
          "namespace: istio-system, labels: {istio.io/use-waypoint: way}}");

  @Test
  void anEntryGoesToItsWaypointByNameAndByItsAddressOnEveryPort() {
    String addressed =
        """
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: db, namespace: istio-system, labels: {istio.io/use-waypoint: way}}
        spec:
          hosts: [db.example.com]
          addresses: [192.0.2.40, 198.51.100.0/24]
          ports: [{number: 3306, name: tcp, protocol: TCP}]
          resolution: STATIC
          endpoints: [{address: 192.0.2.41}]
        """;
    var compiled = strict(BOUND, addressed, gateway("", "", READY));

    assertThat(decide(compiled, "x", "en.wikipedia.org"))
        .isInstanceOfSatisfying(
            Decision.ToWaypoint.class,
            to -> {
              assertThat(to.waypoint()).isEqualTo("istio-system/way");
              assertThat(to.service()).contains("istio-system/*.wikipedia.org");
            });
    for (String address : List.of("192.0.2.40", "198.51.100.77")) {
      assertThat(decide(compiled, "x", dst(address, 9999), new Preface.Silent()))
          .isInstanceOf(Decision.ToWaypoint.class);
    }
    assertThat(why(decide(compiled, "x", "wikipedia.org"))).isEqualTo(Refusal.CONNECTION_CLOSED);
  }

  @Test
  void nothingSlipsPastAWaypointByDiallingAnotherAddress() {
    String addressed =
        """
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {name: api, namespace: istio-system, labels: {istio.io/use-waypoint: way}}
        spec:
          hosts: [api.example.com]
          addresses: [192.0.2.40]
          ports:
            - {number: 443, name: tls, protocol: TLS}
            - {number: 8443, name: any}
            - {number: 3306, name: tcp, protocol: TCP}
          resolution: DNS
        """;
    var compiled =
        Policies.compile(MeshSettings.DEFAULTS, ENFORCE, addressed, gateway("", "", READY));

    for (int port : List.of(443, 8443)) {
      assertThat(decide(compiled, "x", dst("203.0.113.1", port), tls("api.example.com")))
          .isInstanceOf(Decision.ToWaypoint.class);
      assertThat(decide(compiled, "x", dst("203.0.113.1", port), tls("other.example.com")))
          .isInstanceOf(Decision.Passthrough.class);
    }
    assertThat(decide(compiled, "x", dst("203.0.113.1", 8443), http("api.example.com")))
        .isInstanceOf(Decision.ToWaypoint.class);
    assertThat(decide(compiled, "x", dst("203.0.113.1", 3306), new Preface.Silent()))
        .isInstanceOf(Decision.Passthrough.class);
  }

  @Test
  void anEntryWhoseWaypointCannotBeUsedIsRefusedUnderAllowAnyToo() {
    for (String gateway :
        List.of(
            "",
            gateway("", "", "{}"),
            gateway("", ", allowedRoutes: {namespaces: {from: None}}", READY),
            gateway("istio.io/waypoint-for: workload", "", READY),
            gateway("istio.io/waypoint-for: nothing", "", READY))) {
      var compiled = Policies.compile(MeshSettings.DEFAULTS, ENFORCE, BOUND, gateway);

      assertThat(why(decide(compiled, "x", "en.wikipedia.org")))
          .as(gateway)
          .isEqualTo(Refusal.WAYPOINT_UNAVAILABLE);
      assertThat(texts(compiled)).anyMatch(t -> t.contains("waypoint_unavailable"));
      assertThat(
              compiled
                  .table()
                  .explain(Policies.pod("x"), dst("203.0.113.250", 443), tls("en.wikipedia.org"))
                  .considered())
          .singleElement()
          .extracting(c -> c.why())
          .asString()
          .contains("cannot be used: the label istio.io/use-waypoint names the Gateway");
    }
  }

  @Test
  void aWaypointOfTheNamespaceIsInheritedUnlessTheEntryOptsOut() {
    String namespace =
        """
        apiVersion: v1
        kind: Namespace
        metadata: {name: istio-system, labels: {istio.io/use-waypoint: way}}
        """;
    var bound = strict(WIKI, namespace, gateway("", "", READY));
    assertThat(decide(bound, "x", "en.wikipedia.org")).isInstanceOf(Decision.ToWaypoint.class);

    var none = strict(BOUND.replace("waypoint: way", "waypoint: None"), namespace);
    assertThat(decide(none, "x", "en.wikipedia.org")).isInstanceOf(Decision.Forward.class);

    var missing = strict(WIKI, namespace);
    assertThat(why(decide(missing, "x", "en.wikipedia.org")))
        .isEqualTo(Refusal.WAYPOINT_UNAVAILABLE);

    var forOthers = strict(WIKI, namespace, gateway("istio.io/waypoint-for: workload", "", READY));
    assertThat(decide(forOthers, "x", "en.wikipedia.org")).isInstanceOf(Decision.Forward.class);
  }

  @Test
  void theClassSaysWhatAGatewayServesWhereItDoesNot() {
    String kind =
        """
        apiVersion: gateway.networking.k8s.io/v1
        kind: GatewayClass
        metadata: {name: istio-waypoint, labels: {istio.io/waypoint-for: workload}}
        """;

    assertThat(why(decide(strict(BOUND, gateway("", "", READY), kind), "x", "en.wikipedia.org")))
        .isEqualTo(Refusal.WAYPOINT_UNAVAILABLE);
    assertThat(
            decide(
                strict(BOUND, gateway("istio.io/waypoint-for: all", "", READY), kind),
                "x",
                "en.wikipedia.org"))
        .isInstanceOf(Decision.ToWaypoint.class);
  }

  @Test
  void aServicesWaypointThatCannotBeUsedCountsAsNone() {
    String bound =
        WEB.replace(
            "namespace: shop}", "namespace: shop, labels: {istio.io/use-waypoint: nowhere}}");
    var compiled = strict(bound, pod("web-1", "shop", "{app: web}", "10.1.0.21"));

    assertThat(addresses(decide(compiled, "x", dst("10.96.0.9", 80), new Preface.Opaque())))
        .containsExactly("10.1.0.21:8080");
    assertThat(texts(compiled))
        .anyMatch(t -> t.contains("Service/shop/web") && t.contains("nowhere"));
  }

  @Test
  void waypointsThatAreNotUsedAreCounted() {
    String bound =
        WEB.replace(
            "namespace: shop}", "namespace: shop, labels: {istio.io/use-waypoint: nowhere}}");
    String pod = pod("web-1", "shop", "{istio.io/use-waypoint: nowhere}", "10.1.0.21");

    assertThat(strict(bound, pod).table().unusedWaypoints()).isEqualTo(2);
    assertThat(strict(WEB).table().unusedWaypoints()).isZero();
  }

  @Test
  void aWaypointsOwnPodsAreNotSentToItAgain() {
    var compiled = strict(BOUND, gateway("", "", READY));
    Pod own =
        new Pod(
            new PodRef("istio-system", "way-0"),
            "way",
            Map.of("gateway.networking.k8s.io/gateway-name", "way"),
            List.of());

    ClientView view = compiled.table().view(own);
    assertThat(cluster(view.decide(dst("203.0.113.1", 443), tls("en.wikipedia.org"))))
        .isEqualTo("outbound|443||*.wikipedia.org");
    assertThat(decide(compiled, "istio-system", "en.wikipedia.org"))
        .isInstanceOf(Decision.ToWaypoint.class);
  }
}
