package io.tailwater.agent.control.istio;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.HostPattern;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/// One case for each rule of validation: the spec, and a part of the one message that it must give.
class SidecarReaderTest {
  private static final String ALL = "egress: [{hosts: [\"*/*\"]}]";

  private static OneResource<Sidecar> read(String spec) {
    return OneResource.istio(SidecarReader::read, "Sidecar", spec);
  }

  static Stream<Arguments> errors() {
    return Stream.of(
        Arguments.of("{}", "is empty"),
        Arguments.of("{workloadSelector: {labels: {app: a}}}", "is empty"),
        Arguments.of("{egress: []}", "is empty"),
        Arguments.of("{egress: [{hosts: []}]}", "egress[0].hosts: at least one host"),
        Arguments.of("{egress: [{}]}", "egress[0].hosts: at least one host"),
        Arguments.of("{egress: [{hosts: [a.example]}]}", "must be namespace/dnsName"),
        Arguments.of("{egress: [{hosts: [\"/a.example\"]}]}", "lacks its namespace"),
        Arguments.of("{egress: [{hosts: [\"a/\"]}]}", "lacks its dnsName"),
        Arguments.of("{egress: [{hosts: [\"A_b/a.example\"]}]}", "\"A_b\" is neither a namespace"),
        Arguments.of("{egress: [{hosts: [\"~~/a.example\"]}]}", "\"~~\" is neither a namespace"),
        Arguments.of("{egress: [{hosts: [\"./web\"]}]}", "\"web\" is a short name"),
        Arguments.of("{egress: [{hosts: [\"./*a.example\"]}]}", "partial wildcard"),
        Arguments.of("{egress: [{hosts: [\"./a.*.example\"]}]}", "character '*'"),
        Arguments.of("{egress: [{hosts: [\"*/*\"]}, {hosts: [\"*/*\"]}]}", "must be the last"),
        Arguments.of(
            "{egress: [{hosts: [\"*/*\"]}, {port: {number: 1, protocol: TCP}, hosts: [\"*/*\"]}]}",
            "egress[0].port: is missing: the egress listener without a port must be the last"),
        Arguments.of(
            "{egress: [{port: {number: 443, protocol: TLS}, hosts: [\"./*\"]}, {port: {number: 443,"
                + " protocol: TLS}, hosts: [\"*/*\"]}]}",
            "egress[1].port: is there twice"),
        Arguments.of(
            "{egress: [{port: {number: 443, protocol: TLS, targetPort: 8443}, hosts: [\"*/*\"]}]}",
            "targetPort: has no meaning"),
        Arguments.of(
            "{egress: [{port: {number: 443, protocol: QUIC}, hosts: [\"*/*\"]}]}",
            "\"QUIC\" is none of"),
        Arguments.of(
            "{egress: [{port: {number: 443, protocol: TLS, name: a.b}, hosts: [\"*/*\"]}]}",
            "\"a.b\" is not a DNS label"),
        Arguments.of(
            "{egress: [{port: {number: 70000, protocol: TLS}, hosts: [\"*/*\"]}]}",
            "between 0 and 65535"),
        Arguments.of(
            "{egress: [{port: {protocol: TLS}, hosts: [\"*/*\"]}]}", "port.number: is missing"),
        Arguments.of(
            "{egress: [{port: {number: 443, protocol: TLS}, bind: here, hosts: [\"*/*\"]}]}",
            "egress[0].bind: \"here\" is not an IP address"),
        Arguments.of(
            "{egress: [{port: {number: 0, protocol: TCP}, bind: \"unix://x\", hosts: [\"*/*\"]}]}",
            "not the absolute path"),
        Arguments.of(
            "{egress: [{port: {number: 0, protocol: TCP}, bind: \"unix:///x\", captureMode:"
                + " IPTABLES, hosts: [\"*/*\"]}]}",
            "a socket file is not captured"),
        Arguments.of("{egress: [{captureMode: ALL, hosts: [\"*/*\"]}]}", "\"ALL\" is none of"),
        Arguments.of("{egres: [], " + ALL + "}", "did you mean \"egress\""),
        Arguments.of(
            "{" + ALL + ", workloadSelector: {labels: {app: \"a*\"}}}",
            "wildcards are not allowed"),
        Arguments.of("{outboundTrafficPolicy: {mode: ANY}}", "\"ANY\" is none of"),
        Arguments.of(
            "{outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}}", "for the whole mesh only"),
        Arguments.of(
            "{outboundTrafficPolicy: {mode: REGISTRY_ONLY, egressProxy: {host: a.example, port:"
                + " {number: 443}}}}",
            "only with mode ALLOW_ANY"),
        Arguments.of(
            "{outboundTrafficPolicy: {egressProxy: {host: a.example, port: {number: 443}}}}",
            "only with mode ALLOW_ANY"),
        Arguments.of(
            "{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.example}}}",
            "egressProxy.port: is missing"),
        Arguments.of(
            "{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: \"*.example\", port:"
                + " {number: 443}}}}",
            "egressProxy.host: \"*.example\""),
        Arguments.of(
            "{ingress: [{defaultEndpoint: \"127.0.0.1:80\"}]}", "ingress[0].port: is missing"),
        Arguments.of(
            "{ingress: [{port: {number: 80, protocol: HTTP}}, {port: {number: 80, protocol:"
                + " TCP}}]}",
            "ingress[1].port: is there twice"),
        Arguments.of(
            "{ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: \"10.0.0.1:80\"}]}",
            "must be 127.0.0.1:PORT"),
        Arguments.of(
            "{ingress: [{port: {number: 80, protocol: HTTP}, connectionPool: {}}]}",
            "connectionPool: sets nothing"),
        Arguments.of(
            "{ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: \"unix://a\"}]}",
            "not the absolute path of a socket"),
        Arguments.of(
            "{ingress: [{port: {number: 443, protocol: HTTPS}, tls: {mode: SIMPLE, privateKey:"
                + " /k}}]}",
            "tls.serverCertificate: is missing"));
  }

  @ParameterizedTest
  @MethodSource("errors")
  void whatIstioRefusesIsAnError(String spec, String message) {
    OneResource<Sidecar> read = read(spec);

    assertThat(read.errors()).singleElement().asString().contains(message);
    assertThat(read.resource()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{egress: [{hosts: [\"~/*\"]}]}",
        "{egress: [{hosts: [\"*/*\", \"~other/*.bad.example\", \"~./x.example\","
            + " \"~*/y.example\"]}]}",
        "{egress: [{hosts: [\"istio-system/*\", \"./*.example\", \"*/a.example\"]}]}",
        "{egress: [{port: {number: 443, protocol: TLS}, bind: 10.0.0.1, hosts: [\"./*\"]}]}",
        "{egress: [{port: {number: 0, protocol: TCP}, bind: \"unix:///x\", captureMode: NONE,"
            + " hosts: [\"./*\"]}]}",
        "{inboundConnectionPool: {tcp: {maxConnections: 1}}}",
        "{ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: \"[::1]:8080\"}]}",
        "{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.example, subset: v1, port:"
            + " {number: 443}}}}"
      })
  void whatIstioAcceptsHasNoErrors(String spec) {
    assertThat(read(spec).errors()).isEmpty();
  }

  @Test
  void anEmptyPolicyIsRegistryOnly() {
    Sidecar sidecar = read("{outboundTrafficPolicy: {}}").valid();

    assertThat(sidecar.outbound().orElseThrow().mode())
        .isEqualTo(MeshSettings.OutboundTrafficPolicy.REGISTRY_ONLY);
    assertThat(sidecar.egress()).isEmpty();
  }

  @Test
  void doubtfulHostsAreWarnedOf() {
    assertThat(read("{egress: [{hosts: [\"a/*\", \"a/x.example\"]}]}").warnings())
        .singleElement()
        .asString()
        .contains("repeats");
    assertThat(read("{egress: [{hosts: [\"*/*\", \"a/x.example\"]}]}").warnings())
        .singleElement()
        .asString()
        .contains("imports everything already");
    assertThat(read("{" + ALL + ", workloadSelector: {}}").warnings())
        .singleElement()
        .asString()
        .contains("applies to every workload");
  }

  @Test
  void anImportContainsAServiceWhoseNamesAreAllItsOwn() {
    HostPattern wildcard = new HostPattern.Wildcard(HostName.of("wikipedia.org"));
    HostPattern exact = new HostPattern.Exact(HostName.of("en.wikipedia.org"));
    HostPattern narrower = new HostPattern.Wildcard(HostName.of("m.wikipedia.org"));

    assertThat(item(wildcard).contains(wildcard)).isTrue();
    assertThat(item(wildcard).contains(exact)).isTrue();
    assertThat(item(wildcard).contains(narrower)).isTrue();
    assertThat(item(exact).contains(exact)).isTrue();
    assertThat(item(exact).contains(wildcard)).isFalse();
    assertThat(item(narrower).contains(wildcard)).isFalse();
    assertThat(item(wildcard).contains(new HostPattern.Exact(HostName.of("wikipedia.org"))))
        .isFalse();
    assertThat(Sidecar.Import.ALL.contains(wildcard)).isTrue();
  }

  private static Sidecar.Import item(HostPattern host) {
    return new Sidecar.Import(false, "*", Optional.of(host));
  }

  @Test
  void namespacesAreEvaluatedForTheClient() {
    Sidecar sidecar =
        read("{egress: [{hosts: [\"./*\", \"*/a.example\", \"~/b.example\", \"~x/*\"]}]}").valid();
    var hosts = sidecar.egress().getFirst().hosts();

    assertThat(hosts.get(0).about("client", "client")).isTrue();
    assertThat(hosts.get(0).about("shop", "client")).isFalse();
    assertThat(hosts.get(1).about("any", "client")).isTrue();
    assertThat(hosts.get(2).about("client", "client")).isFalse();
    assertThat(hosts.get(2).excludes()).isFalse();
    assertThat(hosts.get(3).excludes()).isTrue();
    assertThat(hosts.get(3).about("x", "client")).isTrue();
  }

  @Test
  void aSelectorNeedsEveryLabel() {
    Sidecar sidecar =
        read("{" + ALL + ", workloadSelector: {labels: {app: a, tier: web}}}").valid();

    assertThat(sidecar.selects(Map.of("app", "a", "tier", "web", "x", "y"))).isTrue();
    assertThat(sidecar.selects(Map.of("app", "a"))).isFalse();
  }
}
