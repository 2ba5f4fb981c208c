package io.tailwater.agent.control.compile;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.control.istio.EgressSettings;
import io.tailwater.agent.control.source.Problem;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

/// One test for each mistake that Istio accepts: the warning, and the config next to it that is
/// meant and has none.
class AdviceTest {
  private static List<String> advice(String... yaml) {
    PolicyCompiler.Compiled compiled =
        new PolicyCompiler(Policies.REGISTRY_ONLY, EgressSettings.DEFAULTS)
            .check(Policies.set(yaml), Set.of());
    assertThat(compiled.hasErrors()).as("%s", compiled.problems()).isFalse();
    return compiled.problems().stream()
        .map(Problem::text)
        // Told by the compiler of this version, whatever check says.
        .filter(t -> !t.contains("not routed by Host yet"))
        .toList();
  }

  private static String entry(String name, String spec) {
    return entry("shop", name, spec);
  }

  private static String entry(String namespace, String name, String spec) {
    return """
    apiVersion: networking.istio.io/v1
    kind: ServiceEntry
    metadata: {name: %s, namespace: %s}
    spec:
    %s
    """
        .formatted(name, namespace, spec.indent(2));
  }

  private static final String DYNAMIC =
      """
      hosts: ["*.wikipedia.org"]
      ports: [{number: 443, name: tls, protocol: TLS}]
      resolution: DYNAMIC_DNS
      """;

  private static void assertOnly(List<String> advice, String... parts) {
    assertThat(advice).singleElement().asString().contains(parts);
  }

  @Test
  void theBlogsWildcardHasNothingToBeSaidOf() {
    assertThat(advice(entry("wiki", DYNAMIC))).isEmpty();
  }

  @Test
  void aTlsWildcardOnAnHttpPortMatchesNoPlaintext() {
    assertOnly(
        advice(entry("wiki", DYNAMIC.replace("443", "80"))),
        "test.yaml:6: ServiceEntry/shop/wiki: spec.ports[0].protocol: is TLS on port 80",
        "write HTTP");
  }

  @Test
  void httpOnPort443MatchesNoTls() {
    assertOnly(
        advice(entry("wiki", DYNAMIC.replace("protocol: TLS", "protocol: HTTP"))),
        "spec.ports[0].protocol: is HTTP on port 443",
        "write TLS");
  }

  @Test
  void upperCaseAndTrailingDotsAreReadAsWhatTheyMean() {
    List<String> advice =
        advice(entry("wiki", DYNAMIC.replace("*.wikipedia.org\"", "*.WikiPedia.org.\"")));
    assertOnly(advice, "spec.hosts[0]: \"*.WikiPedia.org.\" is read as \"*.wikipedia.org\"");
  }

  @Test
  void aWildcardWithinAnotherSaysWhoDecides() {
    String narrow = DYNAMIC.replace("*.wikipedia", "*.m.wikipedia");
    assertOnly(
        advice(entry("wiki", DYNAMIC), entry("mobile", narrow)),
        "ServiceEntry/shop/mobile: spec.hosts[0]: *.m.wikipedia.org lies within *.wikipedia.org of"
            + " ServiceEntry/shop/wiki",
        "one of them is enough");
    assertThat(advice(entry("wiki", DYNAMIC), entry("mobile", narrow.replace("443", "8883"))))
        .isEmpty();
    assertThat(
            advice(
                entry("a", "wiki", DYNAMIC + "exportTo: [\".\"]"),
                entry("b", "mobile", narrow + "exportTo: [\".\"]")))
        .isEmpty();
  }

  @Test
  void theSameHostInTwoNamespacesSaysWhoGetsIt() {
    assertOnly(
        advice(entry("a", "wiki", DYNAMIC), entry("b", "wiki", DYNAMIC)),
        "ServiceEntry/b/wiki: spec.hosts[0]: *.wikipedia.org is also a host of ServiceEntry/a/wiki",
        "exportTo: [\".\"]");
    assertThat(
            advice(
                entry("a", "wiki", DYNAMIC + "exportTo: [\".\"]"),
                entry("b", "wiki", DYNAMIC + "exportTo: [\".\"]")))
        .isEmpty();
  }

  @Test
  void entriesOfOneNamespaceThatDisagreeAreNotMerged() {
    String port = DYNAMIC.replace("443", "8443");
    assertThat(advice(entry("a", DYNAMIC), entry("b", port))).isEmpty();
    assertOnly(
        advice(entry("a", DYNAMIC), entry("b", port + "exportTo: [\".\"]")),
        "ServiceEntry/shop/b: spec.exportTo: is another than in ServiceEntry/shop/a",
        "left out");
  }

  @Test
  void dnsForAWildcardSendsEveryNameToTheSameEndpoint() {
    assertOnly(
        advice(
            entry(
                "wiki",
                DYNAMIC.replace("DYNAMIC_DNS", "DNS")
                    + "endpoints: [{address: www.wikipedia.org}]")),
        "spec.resolution: DNS looks up the endpoints",
        "use DYNAMIC_DNS");
  }

  @Test
  void noneWithoutAddressesLetsTheClientChooseThem() {
    String none = DYNAMIC.replace("DYNAMIC_DNS", "NONE");
    assertOnly(
        advice(entry("wiki", none)), "spec.resolution: NONE keeps the address", "DYNAMIC_DNS");
    assertThat(advice(entry("wiki", none + "addresses: [203.0.113.0/24]"))).isEmpty();
  }

  @Test
  void privateAddressesOfAnExternalWildcardAreFiltered() {
    String none = DYNAMIC.replace("DYNAMIC_DNS", "NONE") + "addresses: [10.1.2.0/24]\n";
    assertOnly(advice(entry("wiki", none)), "spec.addresses[0]: is never dialled", "10.0.0.0/8");
    assertThat(advice(entry("wiki", none + "location: MESH_INTERNAL"))).isEmpty();
  }

  @Test
  void theMetadataAddressIsNoEndpoint() {
    assertOnly(
        advice(
            entry(
                "metadata",
                """
                hosts: [metadata.example]
                ports: [{number: 80, name: http, protocol: HTTP}]
                resolution: STATIC
                endpoints: [{address: 169.254.169.254}]
                """)),
        "spec.endpoints[0].address: is never dialled",
        "link-local");
  }

  @Test
  void theLocationOfAWildcardFitsItsNames() {
    assertOnly(
        advice(entry("wiki", DYNAMIC + "location: MESH_INTERNAL")),
        "spec.location: MESH_INTERNAL lets names under *.wikipedia.org lead to private addresses");
    String internal = DYNAMIC.replace("wikipedia.org", "svc.cluster.local");
    assertOnly(
        advice(entry("all", internal)),
        "spec.location: MESH_EXTERNAL, the default, refuses private addresses");
    assertThat(advice(entry("all", internal + "location: MESH_INTERNAL"))).isEmpty();
  }

  @Test
  void aPortWithoutProtocolIsSaidOnce() {
    assertOnly(
        advice(
            entry(
                "any",
                """
                hosts: [a.example]
                ports: [{number: 9000, name: any}]
                resolution: DNS
                """)),
        "port 9000 has no protocol",
        "write TLS, HTTP or TCP");
  }

  @Test
  void anExportToANamespaceWithoutPodsIsATypo() {
    String pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: payments}\n";
    String entry = entry("wiki", DYNAMIC + "exportTo: [payment]");
    assertOnly(
        advice(pod, entry),
        "spec.exportTo[0]: there is neither a pod nor a Namespace \"payment\"",
        "did you mean \"payments\"?");
    assertThat(advice(entry)).isEmpty();
  }

  @Test
  void anEntryOfTheRootNamespaceForItselfAloneIsHidden() {
    assertOnly(
        advice(entry("istio-system", "wiki", DYNAMIC + "exportTo: [\".\"]")),
        "spec.exportTo: hides the entry from all pods but those of istio-system");
  }

  @Test
  void aTargetPortOfDynamicDnsHasNoEffect() {
    assertOnly(
        advice(entry("wiki", DYNAMIC.replace("number: 443,", "number: 443, targetPort: 8443,"))),
        "spec.ports[0].targetPort: has no effect with DYNAMIC_DNS");
  }

  @Test
  void theYoungerOfTwoTcpPortsWithoutAddressesGetsNothing() {
    String tcp =
        """
        hosts: [%s.example]
        ports: [{number: 5432, name: pg, protocol: TCP}]
        resolution: DNS
        """;
    assertThat(advice(entry("a", tcp.formatted("a")), entry("b", tcp.formatted("b"))))
        .anyMatch(t ->
            t.contains("ServiceEntry/shop/b: spec.ports[0]: gets no connection")
                && t.contains("ServiceEntry/shop/a is older"));
  }

  @Test
  void staticWithoutEndpointsReachesNothing() {
    assertOnly(
        advice(
            entry(
                "x",
                """
                hosts: [a.example]
                ports: [{number: 443, name: tls, protocol: TLS}]
                resolution: STATIC
                """)),
        "spec.resolution: STATIC without endpoints");
  }

  private static String resource(String kind, String namespace, String spec) {
    return "{apiVersion: networking.istio.io/v1, kind: "
        + kind
        + ", metadata: {name: r, namespace: "
        + namespace
        + "}, spec: "
        + spec
        + "}";
  }

  @Test
  void whatMayBeKubernetesIsNotMissedWhereNoServiceIsKnown() {
    assertThat(
            advice(
                resource("Sidecar", "shop", "{egress: [{hosts: [\"./*\", \"istio-system/*\"]}]}"),
                resource(
                    "DestinationRule",
                    "istio-system",
                    "{host: \"*.local\", trafficPolicy: {tls: {mode: DISABLE}}}")))
        .isEmpty();
  }

  @Test
  void aRuleForWhatItsNamespaceDoesNotSeeHasNoEffect() {
    String entry = entry("wiki", DYNAMIC + "exportTo: [other]\n");
    String rule = "{host: \"*.wikipedia.org\", trafficPolicy: {connectionPool: {tcp: {}}}}";

    assertOnly(
        advice(entry, resource("DestinationRule", "third", rule)),
        "has no effect: pods of third do not see ServiceEntry/shop/wiki");
    assertThat(advice(entry, resource("DestinationRule", "other", rule))).isEmpty();
    assertThat(advice(entry, resource("DestinationRule", "shop", rule))).isEmpty();
  }

  @Test
  void aNamespaceThatHoldsAResourceIsThere() {
    assertThat(
            advice(
                entry("wiki", DYNAMIC + "exportTo: [other]\n"),
                "{apiVersion: v1, kind: Namespace, metadata: {name: third}}",
                resource("Sidecar", "other", "{outboundTrafficPolicy: {}}")))
        .isEmpty();
  }
}
