package io.tailwater.agent.control.compile;

import static io.tailwater.agent.control.compile.Policies.REGISTRY_ONLY;
import static io.tailwater.agent.control.compile.Policies.decide;
import static io.tailwater.agent.control.compile.Policies.dst;
import static io.tailwater.agent.control.compile.Policies.http;
import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.istio.MeshSettings;
import io.tailwater.agent.dataplane.route.ClientView;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.LoadBalancing;
import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.dataplane.route.RequestPolicy;
import io.tailwater.agent.dataplane.route.Target;
import io.tailwater.agent.dataplane.route.UpstreamHttp;
import io.tailwater.agent.dataplane.route.UpstreamTls;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Pod;
import io.tailwater.agent.traffic.PodRef;
import io.tailwater.agent.traffic.Refusal;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;

/// What DestinationRules and VirtualServices make of connections and requests.
class RoutingTest {
  private static final OriginalDst HTTP = dst("203.0.113.250", 80);

  private static String rule(String namespace, String name, String spec) {
    return resource("DestinationRule", namespace, name, spec);
  }

  private static String routes(String name, String spec) {
    return resource("VirtualService", "shop", name, spec);
  }

  private static String resource(String kind, String namespace, String name, String spec) {
    return """
    apiVersion: networking.istio.io/v1
    kind: %s
    metadata: {name: %s, namespace: %s, creationTimestamp: "2026-01-%s"}
    spec: {%s}
    """
        .formatted(kind, name, namespace, age(name), spec);
  }

  /// Names that begin with a later letter are younger.
  private static String age(String name) {
    return "%02dT00:00:00Z".formatted(name.charAt(0) - 'a' + 1);
  }

  private static String entry(String namespace, String name, String spec) {
    return resource("ServiceEntry", namespace, name, spec);
  }

  private static final String API =
      entry(
          "svc",
          "api",
          "hosts: [api.example.com], ports: [{number: 80, name: http, protocol: HTTP}, {number:"
              + " 443, name: tls, protocol: TLS}, {number: 5432, name: tcp, protocol: TCP}],"
              + " resolution: STATIC, endpoints: [{address: 192.0.2.1, labels: {v: one}}, {address:"
              + " 192.0.2.2, labels: {v: two}}]");
  private static final String OTHER =
      entry(
          "svc",
          "other",
          "hosts: [other.example.com], ports: [{number: 8443, name: tls, protocol: TLS}],"
              + " resolution: STATIC, endpoints: [{address: 192.0.2.9}]");
  private static final String WILD =
      entry(
          "svc",
          "wild",
          "hosts: [\"*.wild.example\"], ports: [{number: 80, name: http, protocol: HTTP}, {number:"
              + " 443, name: tls, protocol: TLS}], resolution: DYNAMIC_DNS");

  private static PolicyCompiler.Compiled compile(String... yaml) {
    return Policies.compile(REGISTRY_ONLY, EgressSettings.DEFAULTS, yaml);
  }

  private static Decision.Forward forward(Decision decision) {
    assertThat(decision).isInstanceOf(Decision.Forward.class);
    return (Decision.Forward) decision;
  }

  private static ConnectionPolicy policy(PolicyCompiler.Compiled compiled, String client) {
    return forward(decide(compiled, client, HTTP, http("api.example.com"))).to().policy();
  }

  private static long connections(PolicyCompiler.Compiled compiled, String client) {
    return policy(compiled, client).limits().maxConnections();
  }

  private static String limited(int connections) {
    return "trafficPolicy: {connectionPool: {tcp: {maxConnections: " + connections + "}}}";
  }

  private static String at(String host, int connections) {
    return "host: \"" + host + "\", " + limited(connections);
  }

  // ---- who is found ------------------------------------------------------------------------

  @Test
  void theClientsNamespaceComesBeforeTheServicesAndThatBeforeTheRoot() {
    String root = rule("istio-system", "r", at("api.example.com", 3));
    String service = rule("svc", "s", at("api.example.com", 2));
    String client = rule("shop", "c", at("*.com", 1));

    assertThat(connections(compile(API, root, service, client), "shop")).isEqualTo(1);
    assertThat(connections(compile(API, root, service, client), "office")).isEqualTo(2);
    assertThat(connections(compile(API, root, client), "office")).isEqualTo(3);
  }

  @Test
  void insideANamespaceTheMostSpecificHostWinsWhateverItsAge() {
    var compiled =
        compile(
            API,
            rule("shop", "a", at("*", 1)),
            rule("shop", "b", at("*.com", 2)),
            rule("shop", "c", at("*.example.com", 3)),
            rule("shop", "d", at("api.example.com", 4)));

    assertThat(connections(compiled, "shop")).isEqualTo(4);
  }

  @Test
  void aRuleThatIsNotExportedToTheClientLeavesTheSearchOpen() {
    var compiled =
        compile(
            API,
            rule("svc", "s", at("api.example.com", 2) + ", exportTo: [\".\"]"),
            rule("istio-system", "r", at("*.com", 3)));

    assertThat(connections(compiled, "svc")).isEqualTo(2);
    assertThat(connections(compiled, "shop")).isEqualTo(3);
  }

  @Test
  void rulesOfAnUnrelatedNamespaceDoNotApply() {
    assertThat(connections(compile(API, rule("third", "t", at("api.example.com", 1))), "shop"))
        .isEqualTo(ConnectionPolicy.Limits.UNLIMITED);
  }

  @Test
  void aRuleThatSelectsWorkloadsIsForThemAndComesFirst() {
    var compiled =
        compile(
            API,
            rule("shop", "a", at("api.example.com", 1)),
            rule(
                "shop",
                "b",
                at("api.example.com", 2) + ", workloadSelector: {matchLabels: {app: client}}"),
            rule(
                "shop",
                "c",
                at("api.example.com", 3) + ", workloadSelector: {matchLabels: {app: other}}"));

    assertThat(connections(compiled, "shop")).isEqualTo(2);
    Pod stranger = new Pod(new PodRef("shop", "x"), "default", Map.of("app", "third"), List.of());
    ClientView view = compiled.table().view(stranger);
    assertThat(forward(view.decide(HTTP, request("api.example.com", "/"))).to().policy().limits())
        .extracting(ConnectionPolicy.Limits::maxConnections)
        .isEqualTo(1L);
  }

  @Test
  void rulesForOneHostMergeTheOldestPolicyWholeAndAllSubsets() {
    var compiled =
        compile(
            API,
            rule("shop", "a", "host: api.example.com, subsets: [{name: one, labels: {v: one}}]"),
            rule("shop", "b", at("api.example.com", 5)),
            rule(
                "shop",
                "c",
                "host: api.example.com, trafficPolicy: {tls: {mode: SIMPLE}}, subsets: [{name: one,"
                    + " labels: {v: two}}, {name: two, labels: {v: two}}]"),
            routes("v", "hosts: [api.example.com], http: [" + to("api.example.com", "two") + "]"));

    Decision.Forward forward = forward(decide(compiled, "shop", HTTP, http("api.example.com")));
    assertThat(forward.cluster()).contains("outbound|80|two|api.example.com");
    assertThat(forward.to().policy().limits().maxConnections()).isEqualTo(5);
    assertThat(forward.to().policy().tls()).isEmpty();
    assertThat(addresses(forward)).containsExactly("192.0.2.2:80");
  }

  private static String to(String host, String subset) {
    return "{route: [{destination: {host: "
        + host
        + ", port: {number: 80}, subset: "
        + subset
        + "}}]}";
  }

  private static List<String> addresses(Decision.Forward forward) {
    return ((Target.Endpoints) forward.target())
        .endpoints().stream()
            .map(e -> (Target.Endpoint.Address) e)
            .map(a -> new OriginalDst(a.address().getAddress(), a.address().getPort()).toString())
            .toList();
  }

  @Test
  void aWildcardServiceIsFoundByWildcardsThatContainItAlone() {
    for (String host : List.of("*.wild.example", "*.example", "*", "*example")) {
      assertThat(wildConnections(host)).as(host).isEqualTo(7);
    }
    for (String host : List.of("a.wild.example", "*.a.wild.example", "wild.example", "*.com")) {
      assertThat(wildConnections(host)).as(host).isEqualTo(ConnectionPolicy.Limits.UNLIMITED);
    }
  }

  private static long wildConnections(String host) {
    var compiled = compile(WILD, rule("shop", "r", at(host, 7)));
    return forward(decide(compiled, "shop", HTTP, http("a.wild.example")))
        .to()
        .policy()
        .limits()
        .maxConnections();
  }

  // ---- what is composed --------------------------------------------------------------------

  @Test
  void aPortReplacesTheRuleWholeAndASubsetBlockByBlock() {
    String policy =
        "trafficPolicy: {tls: {mode: SIMPLE}, connectionPool: {tcp: {maxConnections: 1}},"
            + " portLevelSettings: [{port: {number: 8080}, connectionPool: {tcp: {maxConnections:"
            + " 2}}}]}";
    String subset =
        "subsets: [{name: one, labels: {v: one}, trafficPolicy: {loadBalancer: {simple: RANDOM}}}]";
    String both =
        API.replace("{number: 443", "{number: 8080, name: alt, protocol: HTTP}, {number: 443");
    var compiled =
        compile(both, rule("shop", "r", "host: api.example.com, " + policy + ", " + subset));
    var alt =
        forward(decide(compiled, "shop", dst("203.0.113.250", 8080), http("api.example.com")));

    assertThat(policy(compiled, "shop").tls()).isPresent();
    assertThat(alt.to().policy().tls()).isEmpty();
    assertThat(alt.to().policy().limits().maxConnections()).isEqualTo(2);
    var routed =
        compile(
            both,
            rule("shop", "r", "host: api.example.com, " + policy + ", " + subset),
            routes("v", "hosts: [api.example.com], http: [" + to("api.example.com", "one") + "]"));
    ConnectionPolicy narrow = policy(routed, "shop");
    assertThat(narrow.tls()).isPresent();
    assertThat(narrow.limits().maxConnections()).isEqualTo(1);
    assertThat(narrow.balancing().kind()).isEqualTo(LoadBalancing.Kind.RANDOM);
  }

  private static UpstreamTls tls(String entry, String host, String settings, String dialled) {
    var compiled =
        compile(
            entry,
            rule("shop", "r", "host: \"" + host + "\", trafficPolicy: {tls: {" + settings + "}}"));
    return forward(decide(compiled, "shop", HTTP, http(dialled))).to().policy().tls().orElseThrow();
  }

  @Test
  void anOrdinaryHostMustShowItsNameUnlessTheRuleNamesSniOrNames() {
    String host = "api.example.com";
    assertThat(tls(API, host, "mode: SIMPLE", host).autoSan()).isTrue();
    assertThat(tls(API, host, "mode: SIMPLE, sni: x.example", host).autoSan()).isFalse();
    assertThat(tls(API, host, "mode: SIMPLE, subjectAltNames: [x.example]", host))
        .returns(false, UpstreamTls::autoSan)
        .returns(List.of("x.example"), UpstreamTls::subjectAltNames);
    assertThat(tls(API, host, "mode: SIMPLE, insecureSkipVerify: true", host).autoSan()).isFalse();
    assertThat(tls(API, host, "mode: ISTIO_MUTUAL", host).sni())
        .contains("outbound_.80_._.api.example.com");
  }

  @Test
  void aDynamicHostMustShowTheRequestedNameWhateverElseTheRuleNames() {
    String host = "*.wild.example";
    String name = "a.wild.example";
    assertThat(tls(WILD, host, "mode: SIMPLE, sni: x.example, subjectAltNames: [y.example]", name))
        .returns(true, UpstreamTls::autoSan)
        .returns(Optional.of("x.example"), UpstreamTls::sni)
        .returns(List.of("y.example"), UpstreamTls::subjectAltNames);
    assertThat(tls(WILD, host, "mode: SIMPLE, insecureSkipVerify: true", name))
        .returns(false, UpstreamTls::autoSan)
        .returns(true, UpstreamTls::autoSni);
    assertThat(tls(WILD, host, "mode: ISTIO_MUTUAL", name))
        .returns(true, UpstreamTls::autoSan)
        .returns(true, UpstreamTls::autoSni);
  }

  @Test
  void aCredentialIsNeverTurnedIntoPlaintext() {
    assertThat(tls(API, "api.example.com", "mode: SIMPLE, credentialName: c", "api.example.com"))
        .returns(Optional.of("c"), UpstreamTls::credentialName);
    assertThat(tls(WILD, "*.wild.example", "mode: MUTUAL, credentialName: c", "a.wild.example"))
        .returns(UpstreamTls.Mode.MUTUAL, UpstreamTls::mode)
        .returns(Optional.of("c"), UpstreamTls::credentialName);
  }

  @Test
  void aSecondTlsAroundTheClientsAsksForNoName() {
    var compiled =
        compile(
            WILD,
            rule("shop", "r", "host: \"*.wild.example\", trafficPolicy: {tls: {mode: SIMPLE}}"));
    Decision decision = decide(compiled, "shop", "a.wild.example");
    Decision.Forward forward =
        decision instanceof Decision.ByName by
            ? by.forward(HostName.of("a.wild.example"))
            : forward(decision);

    assertThat(forward.to().policy().tls().orElseThrow().autoSan()).isFalse();
  }

  @Test
  void whatARuleAsksForAndNobodyDoesIsRefusedWhateverBecomesOfUnknownDestinations() {
    String rule =
        rule(
            "shop",
            "r",
            "host: api.example.com, trafficPolicy: {tunnel: {targetHost: proxy.example, targetPort:"
                + " 3128}}");
    var lax = Policies.compile(MeshSettings.DEFAULTS, EgressSettings.DEFAULTS, API, rule);

    assertThat(((Decision.Refuse) decide(lax, "shop", HTTP, http("api.example.com"))).why())
        .isEqualTo(Refusal.NOT_SUPPORTED_YET);
    assertThat(decide(lax, "office", HTTP, http("api.example.com")))
        .isInstanceOf(Decision.Forward.class);
  }

  @Test
  void balancingAndOutliersOfAHostThatIsResolvedByNameHaveNoEffect() {
    var compiled =
        compile(
            WILD,
            rule(
                "shop",
                "r",
                "host: \"*.wild.example\", trafficPolicy: {loadBalancer: {simple: PASSTHROUGH},"
                    + " outlierDetection: {consecutive5xxErrors: 1}}"));

    assertThat(forward(decide(compiled, "shop", HTTP, http("a.wild.example"))).to().policy())
        .isEqualTo(ConnectionPolicy.DEFAULT);
  }

  @Test
  void timeoutsKeepAliveAndOutliersAreTakenOver() {
    var compiled =
        compile(
            API,
            rule(
                "shop",
                "r",
                "host: api.example.com, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 3s,"
                    + " idleTimeout: 5m, maxConnectionDuration: 1h, tcpKeepalive: {probes: 3, time:"
                    + " 10s, interval: 1s}}, http: {idleTimeout: 7s}}, outlierDetection:"
                    + " {consecutiveGatewayErrors: 2, baseEjectionTime: 1m}}"));
    ConnectionPolicy http = policy(compiled, "shop");
    ConnectionPolicy tls = forward(decide(compiled, "shop", "api.example.com")).to().policy();

    assertThat(http.connectTimeout()).contains(Duration.ofSeconds(3));
    assertThat(http.http().idleTimeout()).contains(Duration.ofSeconds(7));
    assertThat(tls.idleTimeout()).contains(Duration.ofMinutes(5));
    assertThat(http.maxConnectionDuration()).contains(Duration.ofHours(1));
    assertThat(http.keepAlive().orElseThrow().probes()).contains(3);
    assertThat(http.outlier().orElseThrow().consecutiveGateway()).isEqualTo(2);
    assertThat(http.outlier().orElseThrow().consecutive5xx()).isEqualTo(5);
    assertThat(http.outlier().orElseThrow().consecutiveLocal()).isEmpty();
    assertThat(http.outlier().orElseThrow().baseEjectionTime()).isEqualTo(Duration.ofMinutes(1));
    assertThat(http.balancing().localityFailover()).isTrue();
  }

  private static UpstreamHttp spoken(String port, String... rules) {
    List<String> all = new ArrayList<>(List.of(rules));
    all.add(
        entry(
            "svc",
            "api",
            "hosts: [api.example.com], resolution: STATIC, endpoints: [{address: 192.0.2.1}],"
                + " ports: [{number: 80, "
                + port
                + "}]"));
    var compiled = compile(all.toArray(String[]::new));
    return forward(ask(compiled, request("api.example.com", "/"))).to().http();
  }

  @Test
  void thePortSaysWhichHttpRequestsGoOnAsAndWhatIsDetectedGoesOnAsItIs() {
    assertThat(spoken("name: http, protocol: HTTP")).isEqualTo(UpstreamHttp.HTTP1);
    assertThat(spoken("name: h2, protocol: HTTP2")).isEqualTo(UpstreamHttp.HTTP2);
    assertThat(spoken("name: grpc, protocol: GRPC")).isEqualTo(UpstreamHttp.HTTP2);
    assertThat(spoken("name: any")).isEqualTo(UpstreamHttp.CLIENTS);
  }

  @Test
  void aRuleUpgradesPortsThatSayHttpAndAnyMayFollowTheClient() {
    String host = "host: api.example.com, trafficPolicy: {connectionPool: {http: {";
    String upgrade = rule("svc", "r", host + "h2UpgradePolicy: UPGRADE}}}");
    String follow = rule("svc", "r", host + "useClientProtocol: true}}}");
    String neither = rule("svc", "r", host + "h2UpgradePolicy: DO_NOT_UPGRADE}}}");

    assertThat(spoken("name: http, protocol: HTTP", upgrade)).isEqualTo(UpstreamHttp.HTTP2);
    assertThat(spoken("name: any", upgrade)).isEqualTo(UpstreamHttp.CLIENTS);
    assertThat(spoken("name: http, protocol: HTTP", follow)).isEqualTo(UpstreamHttp.CLIENTS);
    assertThat(spoken("name: grpc, protocol: GRPC", follow)).isEqualTo(UpstreamHttp.CLIENTS);
    assertThat(spoken("name: http, protocol: HTTP", neither)).isEqualTo(UpstreamHttp.HTTP1);
  }

  // ---- tls and tcp routes ------------------------------------------------------------------

  private static String tlsRoute(String sni, String destination) {
    return "{match: [{sniHosts: [\""
        + sni
        + "\"]}], route: [{destination: {host: \""
        + destination
        + "\"}}]}";
  }

  private static String cluster(PolicyCompiler.Compiled compiled, String sni) {
    return decide(compiled, "shop", sni).cluster().orElse("");
  }

  @Test
  void aRouteForOneNameLeavesTheWildcardItsOthers() {
    var compiled =
        compile(
            WILD,
            OTHER,
            routes(
                "v",
                "hosts: [a.wild.example], tls: ["
                    + tlsRoute("a.wild.example", "other.example.com")
                    + "]"));

    assertThat(cluster(compiled, "a.wild.example")).isEqualTo("outbound|8443||other.example.com");
    assertThat(cluster(compiled, "b.wild.example")).isEqualTo("outbound|443||*.wild.example");
  }

  @Test
  void aRouteMayLeadToTheWildcardItself() {
    var compiled =
        compile(
            WILD,
            routes(
                "v",
                "hosts: [\"*.wild.example\"], tls: ["
                    + tlsRoute("*.wild.example", "*.wild.example")
                    + "]"));

    assertThat(cluster(compiled, "a.wild.example")).isEqualTo("outbound|443||*.wild.example");
  }

  @Test
  void routesTakeThePlaceOfAnExactHost() {
    var compiled =
        compile(
            API,
            OTHER,
            routes(
                "v",
                "hosts: [api.example.com, www.example.com], tls: ["
                    + tlsRoute("www.example.com", "other.example.com")
                    + "]"));

    assertThat(cluster(compiled, "www.example.com")).isEqualTo("outbound|8443||other.example.com");
    assertThat(cluster(compiled, "api.example.com")).isEqualTo(Decision.BLACK_HOLE);
  }

  @Test
  void anExactNameBeatsAWildcardWhateverTheOrderAndOfEqualNamesTheOldestWins() {
    var compiled =
        compile(
            WILD,
            OTHER,
            routes(
                "a",
                "hosts: [\"*.wild.example\"], tls: ["
                    + tlsRoute("*.wild.example", "*.wild.example")
                    + ", "
                    + tlsRoute("a.wild.example", "other.example.com")
                    + "]"),
            routes(
                "b",
                "hosts: [a.wild.example], tls: ["
                    + tlsRoute("a.wild.example", "*.wild.example")
                    + "]"));

    assertThat(cluster(compiled, "a.wild.example")).isEqualTo("outbound|8443||other.example.com");
    assertThat(cluster(compiled, "b.wild.example")).isEqualTo("outbound|443||*.wild.example");
  }

  @Test
  void subnetsOfTheDialledAddressAreLookedAtFirst() {
    var compiled =
        compile(
            WILD,
            OTHER,
            routes(
                "v",
                "hosts: [\"*.wild.example\"], tls: [{match: [{sniHosts: [\"*.wild.example\"],"
                    + " destinationSubnets: [203.0.113.0/24]}], route: [{destination: {host:"
                    + " other.example.com}}]}]"));

    assertThat(cluster(compiled, "a.wild.example")).isEqualTo("outbound|8443||other.example.com");
    assertThat(
            Policies.cluster(
                decide(compiled, "shop", dst("198.51.100.7", 443), Policies.tls("a.wild.example"))))
        .isEqualTo("outbound|443||*.wild.example");
  }

  @Test
  void aRouteToWhatDoesNotExistIsRefusedAndTold() {
    var compiled =
        compile(
            API,
            routes(
                "v",
                "hosts: [api.example.com], tls: ["
                    + tlsRoute("api.example.com", "nowhere.example.com")
                    + "], http: ["
                    + to("api.example.com", "v9")
                    + "]"));

    Decision.Refuse tls = (Decision.Refuse) decide(compiled, "shop", "api.example.com");
    assertThat(tls.why()).isEqualTo(Refusal.CLUSTER_NOT_FOUND);
    assertThat(tls.cluster()).contains("outbound|443||nowhere.example.com");
    Decision.Refuse http =
        (Decision.Refuse) decide(compiled, "shop", HTTP, http("api.example.com"));
    assertThat(http.why()).isEqualTo(Refusal.CLUSTER_NOT_FOUND);
    assertThat(http.cluster()).contains("outbound|80|v9|api.example.com");
  }

  @Test
  void weightsOfZeroAreLeftOutAndTheOthersShare() {
    String route =
        "{route: [{destination: {host: api.example.com}, weight: 0}, {destination: {host:"
            + " other.example.com}, weight: 3}, {destination: {host: api.example.com, port:"
            + " {number: 5432}}, weight: 1}]}";
    var compiled =
        compile(API, OTHER, routes("v", "hosts: [api.example.com], tcp: [" + route + "]"));
    Set<String> seen = new HashSet<>();
    for (int i = 0; i < 400; i++) {
      seen.add(
          decide(
                  compiled,
                  "shop",
                  dst("203.0.113.250", 5432),
                  new io.tailwater.agent.dataplane.sniff.Preface.Opaque())
              .cluster()
              .orElse(""));
    }

    assertThat(seen)
        .containsExactlyInAnyOrder(
            "outbound|8443||other.example.com", "outbound|5432||api.example.com");
  }

  // ---- http routes -------------------------------------------------------------------------

  private static Request request(String host, String path) {
    return new Request(
        Optional.of(HostName.of(host)),
        Optional.empty(),
        Optional.empty(),
        "GET",
        path,
        false,
        name -> name.equals("x-user") ? "jason" : null);
  }

  private static Decision ask(PolicyCompiler.Compiled compiled, Request request) {
    return compiled.table().view(Policies.pod("shop")).decide(HTTP, request);
  }

  private static final String WEB =
      entry(
          "svc",
          "web",
          "hosts: [web.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution:"
              + " STATIC, endpoints: [{address: 192.0.2.5}]");

  private static String toWeb(String more) {
    return "{route: [{destination: {host: web.example.com}}], " + more + "}";
  }

  @Test
  void requestsTakeTheFirstRouteThatHoldsAndNoOther() {
    var compiled =
        compile(
            API,
            WEB,
            routes(
                "v",
                "hosts: [api.example.com], http: ["
                    + toWeb("match: [{uri: {prefix: /web/}}]")
                    + ", "
                    + toWeb(
                        "match: [{uri: {regex: \"/[0-9]+\"}, headers: {X-User: {exact: jason}}}]")
                    + ", {match: [{uri: {exact: /api}}], route: [{destination: {host:"
                    + " api.example.com}}]}]"));

    assertThat(ask(compiled, request("api.example.com", "/web/x")).cluster())
        .contains("outbound|80||web.example.com");
    assertThat(ask(compiled, request("api.example.com", "/42?q=1")).cluster())
        .contains("outbound|80||web.example.com");
    assertThat(ask(compiled, request("api.example.com", "/api?q=1")).cluster())
        .contains("outbound|80||api.example.com");
    assertThat(((Decision.Refuse) ask(compiled, request("api.example.com", "/apis"))).why())
        .isEqualTo(Refusal.HTTP_502);
  }

  @Test
  void aRequestThatNoRouteTakesIsRefusedWhereUnknownDestinationsPassToo() {
    String api =
        routes(
            "v", "hosts: [api.example.com], http: [" + toWeb("match: [{uri: {prefix: /a}}]") + "]");
    var lax = Policies.compile(MeshSettings.DEFAULTS, EgressSettings.DEFAULTS, API, WEB, api);

    assertThat(ask(lax, request("api.example.com", "/b"))).isInstanceOf(Decision.Refuse.class);
    assertThat(ask(lax, request("unknown.example.com", "/b")))
        .isInstanceOf(Decision.Passthrough.class);
  }

  @Test
  void whatIsDoneToARequestTravelsWithItsDecision() {
    var compiled =
        compile(
            API,
            WEB,
            routes(
                "v",
                "hosts: [api.example.com], http: ["
                    + toWeb(
                        "match: [{uri: {prefix: /old}}], rewrite: {uri: /new, authority:"
                            + " inner.example}, timeout: 2s, retries: {attempts: 1, perTryTimeout:"
                            + " 1s, retryOn: \"5xx,reset\"}, headers: {request: {set: {X-A: b},"
                            + " remove: [X-C]}}")
                    + "]"));
    RequestPolicy done = forward(ask(compiled, request("api.example.com", "/old/x"))).request();

    assertThat(done.authority()).contains("inner.example");
    assertThat(done.path()).contains(new RequestPolicy.PathRewrite("/old", "/new"));
    assertThat(done.timeout()).contains(Duration.ofSeconds(2));
    assertThat(done.retries())
        .isEqualTo(
            new RequestPolicy.Retries(
                1, Optional.of(Duration.ofSeconds(1)), List.of("5xx", "reset")));
    assertThat(done.requestHeaders().set()).isEqualTo(Map.of("x-a", "b"));
    assertThat(done.requestHeaders().remove()).containsExactly("x-c");
  }

  @Test
  void eachDestinationOfARouteMayDoItsOwnToHeaders() {
    var compiled =
        compile(
            API,
            WEB,
            routes(
                "v",
                "hosts: [api.example.com], http: [{timeout: 2s, headers: {request: {set: {a: b}}},"
                    + " route: [{destination: {host: web.example.com}, headers: {request: {set:"
                    + " {c: d}}}}]}]"));
    RequestPolicy done = forward(ask(compiled, request("api.example.com", "/"))).request();

    assertThat(done.requestHeaders().set()).isEqualTo(Map.of("a", "b", "c", "d"));
    assertThat(done.timeout()).contains(Duration.ofSeconds(2));
  }

  @Test
  void whatCannotBeDoneToARequestIsRefusedAndNotLeftOut() {
    var compiled =
        compile(
            API,
            routes(
                "v",
                "hosts: [api.example.com], http: [{match: [{uri: {prefix: /admin}}],"
                    + " directResponse: {status: 403}}, {route: [{destination: {host:"
                    + " api.example.com}}]}]"));

    assertThat(((Decision.Refuse) ask(compiled, request("api.example.com", "/admin/x"))).why())
        .isEqualTo(Refusal.NOT_SUPPORTED_YET);
    assertThat(ask(compiled, request("api.example.com", "/"))).isInstanceOf(Decision.Forward.class);
  }

  @Test
  void aNarrowerNameUnderAWildcardHasRoutesOfItsOwn() {
    var compiled =
        compile(
            WILD,
            WEB,
            routes("a", "hosts: [\"*.a.wild.example\"], http: [" + toWeb("name: a") + "]"),
            routes(
                "b",
                "hosts: [b.wild.example], http: [{rewrite: {uri: /x}, route: [{destination: {host:"
                    + " \"*.wild.example\"}}]}]"));

    assertThat(ask(compiled, request("x.a.wild.example", "/")).cluster())
        .contains("outbound|80||web.example.com");
    Decision.Forward dynamic = forward(ask(compiled, request("b.wild.example", "/")));
    assertThat(dynamic.upstreamHost()).isEqualTo("b.wild.example");
    assertThat(dynamic.request().path()).isPresent();
    assertThat(ask(compiled, request("c.wild.example", "/")).cluster())
        .contains("outbound|80||*.wild.example");
  }

  @Test
  void aHostWithoutServiceHasRoutesOnPort80WhereHttpIsListenedForAlone() {
    String free = routes("v", "hosts: [free.example.net], http: [" + toWeb("name: a") + "]");

    assertThat(ask(compile(WEB, free), request("free.example.net", "/")).cluster())
        .contains("outbound|80||web.example.com");
    assertThat(decide(compile(OTHER, free), "shop", HTTP, http("free.example.net")).cluster())
        .contains(Decision.BLACK_HOLE);
  }

  @Test
  void explainingNamesTheRuleThatAppliesAndThoseThatLost() {
    var compiled =
        compile(
            API,
            rule("shop", "a", at("api.example.com", 1)),
            rule("shop", "b", at("*.com", 2)),
            rule("svc", "c", at("api.example.com", 3)),
            rule("third", "d", at("*", 4) + ", exportTo: [\".\"]"));
    Request request = request("api.example.com", "/");
    var explanation =
        compiled
            .table()
            .explain(Policies.pod("shop"), HTTP, http("api.example.com"), Optional.of(request));

    assertThat(explanation.applied())
        .extracting(a -> a.resource().toString())
        .containsExactly("DestinationRule/shop/a");
    assertThat(explanation.considered())
        .extracting(c -> c.resource() + " " + c.why())
        .containsExactlyInAnyOrder(
            "DestinationRule/shop/b is less specific than api.example.com",
            "DestinationRule/svc/c is not asked: DestinationRule/shop/a is in a namespace that"
                + " comes first",
            "DestinationRule/third/d is not exported to shop (exportTo: third)");
  }
}
