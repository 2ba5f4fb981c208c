package io.tailwater.agent.control.compile;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.source.Problem;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

/// DestinationRules and VirtualServices that Istio accepts and that do nothing, or lead nowhere.
class RoutingAdviceTest {
  /// What is said at the fields of rules and routes.
  private static List<String> advice(String... yaml) {
    PolicyCompiler.Compiled compiled =
        new PolicyCompiler(Policies.REGISTRY_ONLY, EgressSettings.DEFAULTS)
            .check(Policies.set(yaml), Set.of());
    assertThat(compiled.hasErrors()).as("%s", compiled.problems()).isFalse();
    return compiled.problems().stream()
        .map(Problem::text)
        .filter(t -> t.contains(": DestinationRule/") || t.contains(": VirtualService/"))
        .toList();
  }

  private static String rule(String name, String spec) {
    return resource("DestinationRule", name, spec);
  }

  private static String routes(String name, String spec) {
    return resource("VirtualService", name, spec);
  }

  private static String resource(String kind, String name, String spec) {
    return """
    apiVersion: networking.istio.io/v1
    kind: %s
    metadata: {name: %s, namespace: shop}
    spec:
    %s
    """
        .formatted(kind, name, spec.indent(2));
  }

  private static final String WIKI =
      Policies.tlsEntry("shop", "wiki", "*.wikipedia.org", "resolution: DYNAMIC_DNS");
  private static final String API =
      Policies.tlsEntry(
          "shop",
          "api",
          "api.example",
          """
          resolution: STATIC
          endpoints: [{address: 192.0.2.1, labels: {version: v1}}]
          """);

  /// The same host with plaintext HTTP.
  private static final String HTTP =
      API.replace(
          "{number: 443, name: tls, protocol: TLS}", "{number: 80, name: h, protocol: HTTP}");

  private static final String SERVICE =
      """
      apiVersion: v1
      kind: Service
      metadata: {name: web, namespace: shop}
      spec: {clusterIP: 10.96.0.10, ports: [{port: 80, name: http}], selector: {app: web}}
      """;

  private static final String LIMIT =
      "trafficPolicy: {connectionPool: {tcp: {maxConnections: 10}}}\n";

  private static void assertOnly(List<String> advice, String... parts) {
    assertThat(advice).singleElement().asString().contains(parts);
  }

  @Test
  void aRuleForAHostThatNobodyHasMatchesNothing() {
    assertThat(advice(API, rule("r", "host: api.example\n" + LIMIT))).isEmpty();
    assertOnly(
        advice(API, rule("r", "host: api.exampel\n" + LIMIT)),
        "DestinationRule/shop/r: spec.host: matches nothing",
        "did you mean \"api.example\"?");
  }

  @Test
  void aShortNameSaysWhatItStandsFor() {
    assertThat(advice(SERVICE, rule("r", "host: web\n" + LIMIT))).isEmpty();
    assertOnly(
        advice(SERVICE, rule("r", "host: api\n" + LIMIT)),
        "api.shop.svc.cluster.local, which \"api\" stands for");
    // Without any Service the cluster is not looked at.
    assertThat(advice(API, rule("r", "host: api\n" + LIMIT))).isEmpty();
  }

  @Test
  void aRuleForOneNameBelowAWildcardIsNotFound() {
    assertOnly(
        advice(WIKI, rule("r", "host: en.wikipedia.org\n" + LIMIT)),
        "spec.host: matches nothing: *.wikipedia.org of ServiceEntry/shop/wiki is one destination",
        "write \"*.wikipedia.org\"");
    assertThat(advice(WIKI, rule("r", "host: \"*.wikipedia.org\"\n" + LIMIT))).isEmpty();
  }

  @Test
  void ofTwoRulesForOneHostTheOlderPolicyCounts() {
    assertOnly(
        advice(
            API,
            rule("a", "host: api.example\n" + LIMIT),
            rule("b", "host: api.example\n" + LIMIT)),
        "DestinationRule/shop/b: spec.trafficPolicy: does not count: DestinationRule/shop/a");
  }

  @Test
  void aSubsetThatNoEndpointHasIsNamed() {
    String subset = "host: api.example\nsubsets: [{name: s, labels: {version: %s}}]\n";
    assertThat(advice(API, rule("r", subset.formatted("v1")))).isEmpty();
    assertOnly(
        advice(API, rule("r", subset.formatted("v2"))),
        "spec.subsets[0]: selects no endpoint of api.example: none has the labels version=v2");
    assertOnly(
        advice(
            WIKI, rule("r", subset.formatted("v1").replace("api.example", "\"*.wikipedia.org\""))),
        "spec.subsets: a host with resolution DYNAMIC_DNS has no subsets");
  }

  @Test
  void settingsForAPortThatTheHostLacksHaveNoEffect() {
    assertOnly(
        advice(
            API,
            rule(
                "r",
                "host: api.example\ntrafficPolicy: {portLevelSettings: [{port: {number: 8443},"
                    + " connectionPool: {tcp: {maxConnections: 1}}}]}\n")),
        "spec.trafficPolicy.portLevelSettings: port 8443 is none of api.example (its ports: 443"
            + " TLS)");
  }

  @Test
  void originatedTlsAroundTheClientsTlsIsASecondOne() {
    String tls = "host: api.example\ntrafficPolicy: {tls: {mode: SIMPLE}}\n";
    assertOnly(
        advice(API, rule("r", tls)), "spec.trafficPolicy.tls: SIMPLE puts the client's own TLS");
    assertThat(advice(HTTP, rule("r", tls))).isEmpty();
  }

  @Test
  void routesForAHostThatNobodyHasAttachToNothing() {
    String to =
        "tls: [{match: [{sniHosts: [%1$s]}], route: [{destination: {host: api.example}}]}]\n";
    assertOnly(
        advice(API, routes("v", "hosts: [x.example]\n" + to.formatted("x.example"))),
        "VirtualService/shop/v: spec.hosts: attaches to nothing",
        "x.example");
    assertThat(advice(API, routes("v", "hosts: [api.example]\n" + to.formatted("api.example"))))
        .isEmpty();
  }

  @Test
  void httpRoutesOfATlsPortTakeNothing() {
    String http = "hosts: [api.example]\nhttp: [{route: [{destination: {host: api.example}}]}]\n";
    assertOnly(
        advice(API, routes("v", http)),
        "spec.http: takes nothing: no port of api.example speaks plaintext HTTP (its ports: 443"
            + " TLS)");
    assertThat(advice(HTTP, routes("v", http))).isEmpty();
  }

  @Test
  void aDestinationThatDoesNotExistIsNamed() {
    String http = "hosts: [api.example]\nhttp: [{route: [{destination: {%s}}]}]\n";
    assertOnly(
        advice(HTTP, routes("v", http.formatted("host: api2.example"))),
        "spec.http[0].route[0].destination.host: does not exist",
        "did you mean \"api.example\"?",
        "cluster_not_found");
    assertOnly(
        advice(HTTP, routes("v", http.formatted("host: api.example, port: {number: 81}"))),
        "destination.port: port 81 is none of api.example (its ports: 80 HTTP)");
    assertOnly(
        advice(
            HTTP,
            rule("r", "host: api.example\nsubsets: [{name: v1, labels: {version: v1}}]\n"),
            routes("v", http.formatted("host: api.example, subset: v2"))),
        "destination.subset: no DestinationRule for api.example has a subset \"v2\"");
    assertOnly(
        advice(HTTP, WIKI, routes("v", http.formatted("host: en.wikipedia.org"))),
        "\"en.wikipedia.org\" is one name below *.wikipedia.org of ServiceEntry/shop/wiki");
  }

  @Test
  void routesForGatewaysAloneAreNotLookedAt() {
    assertThat(
            advice(
                API,
                routes(
                    "v",
                    "hosts: [x.example]\ngateways: [shop/gw]\nhttp: [{route: [{destination: {host:"
                        + " nowhere.example}}]}]\n")))
        .isEmpty();
  }

  @Test
  void whatChoosesBetweenEndpointsHasNoEffectOnNamesThatAreResolved() {
    assertOnly(
        advice(
            WIKI,
            rule(
                "r",
                """
                host: "*.wikipedia.org"
                trafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}}
                """)),
        "spec.trafficPolicy.outlierDetection: has no effect on a host with resolution DYNAMIC_DNS");
  }

  @Test
  void theGatewaysHalfOfAnEgressGatewayIsNotLookedAt() {
    assertThat(
            advice(
                API,
                routes(
                    "v",
                    """
                    hosts: [api.example]
                    gateways: [mesh, shop/gw]
                    tls:
                      - match: [{gateways: [shop/gw], sniHosts: [api.example]}]
                        route: [{destination: {host: nowhere.example}}]
                      - match: [{gateways: [mesh], sniHosts: [api.example]}]
                        route: [{destination: {host: api.example}}]
                    """)))
        .isEmpty();
  }

  @Test
  void nothingIsSaidOfTheHostOfAnEntryThatHasErrors() {
    PolicyCompiler.Compiled compiled =
        new PolicyCompiler(Policies.REGISTRY_ONLY, EgressSettings.DEFAULTS)
            .check(
                Policies.set(
                    API.replace("STATIC", "STATICK"), rule("r", "host: api.example\n" + LIMIT)),
                Set.of());
    assertThat(compiled.problems())
        .extracting(Problem::text)
        .anyMatch(t -> t.contains("did you mean \"STATIC\"?"))
        .noneMatch(t -> t.contains("matches nothing"));
  }
}
