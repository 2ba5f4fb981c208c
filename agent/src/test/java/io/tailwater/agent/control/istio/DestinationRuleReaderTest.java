package io.tailwater.agent.control.istio;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/// One case for each rule of validation: the spec, and a part of the one message that it must give.
class DestinationRuleReaderTest {
  private static OneResource<DestinationRule> read(String spec) {
    return OneResource.istio(DestinationRuleReader::read, "DestinationRule", spec);
  }

  private static String policy(String policy) {
    return "{host: a.example, trafficPolicy: {" + policy + "}}";
  }

  private static String tls(String tls) {
    return policy("tls: {" + tls + "}");
  }

  static Stream<Arguments> errors() {
    return Stream.of(
        Arguments.of("{}", "spec.host: is missing"),
        Arguments.of("{host: \"a_b.example\"}", "spec.host: \"a_b.example\" has an underscore"),
        Arguments.of("{host: \"a.*.example\"}", "spec.host: \"a.*.example\" has the character"),
        Arguments.of("{host: a.example, trafficPolicys: {}}", "did you mean \"trafficPolicy\"?"),
        Arguments.of("{host: a.example, trafficPolicy: {}}", "spec.trafficPolicy: sets nothing"),
        Arguments.of(tls("mode: MUTUAL, clientCertificate: /c"), "tls.privateKey: is missing"),
        Arguments.of(tls("mode: MUTUAL, privateKey: /k"), "tls.clientCertificate: is missing"),
        Arguments.of(tls("mode: TLS"), "tls.mode: \"TLS\" is none of DISABLE, ISTIO_MUTUAL"),
        Arguments.of(
            tls("mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: [a]"),
            "tls.subjectAltNames: cannot be set with insecureSkipVerify"),
        Arguments.of(
            tls("mode: SIMPLE, insecureSkipVerify: true, caCertificates: /ca"),
            "tls.caCertificates: cannot be set with insecureSkipVerify"),
        Arguments.of(
            tls("mode: SIMPLE, credentialName: c, caCertificates: /ca"),
            "tls.credentialName: and clientCertificate"),
        Arguments.of(policy("connectionPool: {}"), "connectionPool: sets nothing"),
        Arguments.of(
            policy("connectionPool: {tcp: {maxConnections: -1}}"), "between 0 and 2147483647"),
        Arguments.of(
            policy("connectionPool: {tcp: {connectTimeout: 3}}"), "must be a text, not the number"),
        Arguments.of(
            policy("connectionPool: {tcp: {connectTimeout: 3x}}"),
            "connectTimeout: \"3x\" is no duration like"),
        Arguments.of(
            policy("connectionPool: {tcp: {connectTimeout: 0s}}"),
            "connectTimeout: must be at least 1ms"),
        Arguments.of(
            policy("connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}"),
            "useClientProtocol: must not be true"),
        Arguments.of(
            policy("outlierDetection: {maxEjectionPercent: 101}"),
            "maxEjectionPercent: must be between 0 and 100"),
        Arguments.of(
            policy("outlierDetection: {consecutiveLocalOriginFailures: 3}"),
            "needs splitExternalLocalOriginErrors"),
        Arguments.of(
            policy("loadBalancer: {simple: FASTEST}"), "loadBalancer.simple: \"FASTEST\" is none"),
        Arguments.of(
            policy("loadBalancer: {consistentHash: {httpCookie: {ttl: 0s}}}"),
            "httpCookie.name: is missing"),
        Arguments.of(
            policy("loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 10}}}"),
            "maglev.tableSize: must be a prime number"),
        Arguments.of(
            policy("loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 50}}]}}"),
            "to: the weights must add up to 100"),
        Arguments.of(
            policy("portLevelSettings: [{tls: {mode: SIMPLE}}]"),
            "portLevelSettings[0].port: is missing"),
        Arguments.of(
            policy("portLevelSettings: [{port: {number: 80}}]"),
            "portLevelSettings[0]: sets nothing"),
        Arguments.of(
            policy("tunnel: {targetHost: a.example, targetPort: 0}"),
            "targetPort: must be between"),
        Arguments.of(
            "{host: a.example, subsets: [{labels: {v: a}}]}", "subsets[0].name: is missing"),
        Arguments.of("{host: a.example, subsets: [{name: v_1}]}", "\"v_1\" is not a DNS label"),
        Arguments.of(
            "{host: a.example, subsets: [{name: v1}, {name: v1}]}", "\"v1\" is already defined"),
        Arguments.of(
            "{host: a.example, subsets: [{name: v1, trafficPolicy: {}}]}",
            "subsets[0].trafficPolicy: sets nothing"),
        Arguments.of("{host: a.example, exportTo: [\"~\"]}", "is for ServiceEntries alone"),
        Arguments.of("{host: a.example, exportTo: [\".\", shop]}", "is there twice"),
        Arguments.of("{host: a.example, exportTo: [\"*\", other]}", "must stand alone"),
        Arguments.of(
            "{host: a.example, exportTo: [other], workloadSelector: {matchLabels: {a: b}}}",
            "is not possible with workloadSelector"),
        Arguments.of(
            "{host: a.example, workloadSelector: {matchLabels: {a: \"*\"}}}",
            "wildcards are not allowed"));
  }

  @ParameterizedTest
  @MethodSource("errors")
  void tellsWhatIsWrongAndLeavesTheRuleOut(String spec, String message) {
    OneResource<DestinationRule> read = read(spec);

    assertThat(read.errors()).singleElement().asString().contains(message);
    assertThat(read.resource()).isEmpty();
  }

  @Test
  void namesWithoutADotAreServicesOfTheRulesNamespaceAndWildcardsAreNot() {
    assertThat(read("{host: web}").valid().host())
        .isEqualTo(new HostScope("web.shop.svc.cluster.local", false));
    assertThat(read("{host: \"*.web\"}").valid().host()).isEqualTo(new HostScope(".web", true));
    assertThat(read("{host: \"*\"}").valid().host()).isEqualTo(HostScope.ALL);
  }

  @Test
  void theBlogsMutualTlsIsReadAsMutualWithAWarningEvenWithoutCertificates() {
    OneResource<DestinationRule> read = read(tls("mode: MUTUAL_TLS"));

    assertThat(read.valid().trafficPolicy().orElseThrow().settings().tls().orElseThrow().mode())
        .isEqualTo(DestinationRule.Tls.Mode.MUTUAL);
    assertThat(read.warnings()).singleElement().asString().contains("read as MUTUAL");
  }

  @Test
  void aPortsSettingsStandByThemselves() {
    DestinationRule.TrafficPolicy policy =
        read(policy(
                "tls: {mode: SIMPLE}, connectionPool: {tcp: {connectTimeout: 1.5s,"
                    + " maxConnections: 7}}, portLevelSettings: [{port: {number: 80},"
                    + " loadBalancer: {simple: RANDOM}}]"))
            .valid()
            .trafficPolicy()
            .orElseThrow();

    assertThat(policy.of(443).pool().orElseThrow().connectTimeout())
        .contains(Duration.ofMillis(1500));
    assertThat(policy.of(443).pool().orElseThrow().maxConnections()).isEqualTo(7);
    assertThat(policy.of(80).tls()).isEmpty();
    assertThat(policy.of(80).pool()).isEmpty();
    assertThat(policy.of(80).balancer().orElseThrow().kind())
        .isEqualTo(DestinationRule.Balancer.Kind.RANDOM);
  }

  @Test
  void whatCannotBeLeftOutIsToldAndKept() {
    OneResource<DestinationRule> read =
        read(policy("tunnel: {targetHost: proxy.example, targetPort: 3128}"));

    assertThat(read.valid().trafficPolicy().orElseThrow().cannot())
        .contains("tunnel is not honoured");
    assertThat(read.warnings()).singleElement().asString().contains("not_supported_yet");
  }

  @Test
  void hashingByAnythingButTheSourceIsToldToFallBack() {
    assertThat(read(policy("loadBalancer: {consistentHash: {httpHeaderName: x-user}}")).warnings())
        .singleElement()
        .asString()
        .contains("by source address");
    assertThat(read(policy("loadBalancer: {consistentHash: {useSourceIp: true}}")).warnings())
        .isEmpty();
  }
}
