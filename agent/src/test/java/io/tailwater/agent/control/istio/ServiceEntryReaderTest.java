package io.tailwater.agent.control.istio;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.control.compile.Policies;
import io.tailwater.agent.control.source.Problem;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/// One case for each rule of validation: the spec, and a part of the one message that it must give.
class ServiceEntryReaderTest {
  private static final String TLS = "ports: [{number: 443, name: tls, protocol: TLS}], ";

  private static List<Problem> problems(String spec, String metadata) {
    return Policies.compile(
            Policies.REGISTRY_ONLY,
            EgressSettings.DEFAULTS,
            "apiVersion: networking.istio.io/v1\n"
                + "kind: ServiceEntry\n"
                + "metadata: {name: x, namespace: n"
                + metadata
                + "}\nspec: {"
                + spec
                + "}\n")
        .problems();
  }

  static Stream<Arguments> errors() {
    return Stream.of(
        Arguments.of(TLS + "hosts: []", "spec.hosts: at least one host"),
        Arguments.of(TLS, "spec.hosts: at least one host"),
        Arguments.of(TLS + "hosts: [\"*\"]", "spec.hosts[0]: \"*\" alone"),
        Arguments.of(TLS + "hosts: [\"a_b.example\"]", "underscore"),
        Arguments.of(TLS + "hosts: [\"-a.example\"]", "hyphen"),
        Arguments.of(TLS + "hosts: [\"a..example\"]", "empty label"),
        Arguments.of(TLS + "hosts: [\"192.0.2.1\"]", "ends in a number"),
        Arguments.of(TLS + "hosts: [\"a.*.example\"]", "character '*'"),
        Arguments.of(TLS + "hosts: [\"https://a.example\"]", "has a scheme"),
        Arguments.of(TLS + "hosts: [\"a.example:443\"]", "has a port"),
        Arguments.of(TLS + "hosts: [a.example/x]", "has a path"),
        Arguments.of(
            "hosts: [a.example], ports: [{number: 443, name: tls, protocol: TLS, targetPort: 0}]",
            "targetPort: must be between 1 and 65535, not 0"),
        Arguments.of(
            TLS + "hosts: [a.example], resolution: STATIC, endpoints: [{address: \"unix:///a/\"}]",
            "not the absolute path of a socket"),
        Arguments.of(TLS + "hosts: [7]", "must be a text, not the number 7; put it in quotes"),
        Arguments.of(TLS + "hosts: a.example", "spec.hosts: must be a list, not the text"),
        Arguments.of(
            TLS + "hosts: [a.example], adresses: []",
            "spec.adresses: unknown key; did you mean \"addresses\"?"),
        Arguments.of(
            TLS + "hosts: [a.example], resolution: dns",
            "\"dns\" is none of DNS, DNS_ROUND_ROBIN, DYNAMIC_DNS, NONE, STATIC; did you mean"
                + " \"DNS\"?"),
        Arguments.of(
            TLS + "hosts: [a.example], location: OUTSIDE", "none of MESH_EXTERNAL, MESH_INTERNAL"),
        Arguments.of(
            "hosts: [a.example], ports: [{name: tls, protocol: TLS}]",
            "spec.ports[0].number: is missing"),
        Arguments.of(
            "hosts: [a.example], ports: [{number: 0, name: tls, protocol: TLS}]",
            "between 1 and 65535, not 0"),
        Arguments.of(
            "hosts: [a.example], ports: [{number: 65536, name: tls, protocol: TLS}]", "not 65536"),
        Arguments.of(
            "hosts: [a.example], ports: [{number: 443, protocol: TLS}]",
            "spec.ports[0].name: is missing"),
        Arguments.of(
            "hosts: [a.example], ports: [{number: 443, name: a.b, protocol: TLS}]",
            "not a DNS label"),
        Arguments.of(
            "hosts: [a.example], ports: [{number: 443, name: tls, protocol: QUIC}]",
            "\"QUIC\" is none of HTTP"),
        Arguments.of(
            "hosts: [a.example], ports: [{number: 443, name: tls, protocol: TLS, targetPort:"
                + " 70000}]",
            "targetPort"),
        Arguments.of(
            "hosts: [a.example], ports: [null]", "spec.ports[0]: must be a mapping, not null"),
        Arguments.of(
            "hosts: [a.example], ports: [{number: 1, name: a, protocol: TLS}, {number: 1, name: b,"
                + " protocol: TLS}]",
            "port 1 is already defined"),
        Arguments.of(
            "hosts: [a.example], ports: [{number: 1, name: a, protocol: TLS}, {number: 2, name: a,"
                + " protocol: TLS}]",
            "port name \"a\" is already defined"),
        Arguments.of(
            TLS + "hosts: [a.example], addresses: [10.0.0.300]",
            "neither an IP address nor a block"),
        Arguments.of(
            TLS + "hosts: [a.example], resolution: DNS, addresses: [10.0.0.0/8]",
            "only with resolution NONE or STATIC"),
        Arguments.of(
            TLS + "hosts: [a.example], resolution: NONE, endpoints: [{address: 192.0.2.1}]",
            "cannot be set with resolution NONE"),
        Arguments.of(
            TLS + "hosts: [a.example], resolution: STATIC, endpoints: [{address: b.example}]",
            "not an IP address"),
        Arguments.of(
            TLS + "hosts: [a.example], resolution: STATIC, endpoints: [{}]",
            "spec.endpoints[0].address: is missing"),
        Arguments.of(
            TLS
                + "hosts: [a.example], resolution: STATIC, endpoints: [{address: \"unix:///s\","
                + " ports: {tls: 1}}]",
            "has no ports"),
        Arguments.of(
            "hosts: [a.example], ports: [{number: 1, name: a, protocol: TLS}, {number: 2, name: b,"
                + " protocol: TLS}], resolution: STATIC, endpoints: [{address: \"unix:///s\"}]",
            "exactly one port"),
        Arguments.of(
            TLS + "hosts: [a.example], resolution: DNS, endpoints: [{address: \"unix:///s\"}]",
            "needs resolution STATIC"),
        Arguments.of(TLS + "hosts: [\"*.example\"], resolution: DNS", "must be a full name"),
        Arguments.of(
            TLS + "hosts: [\"*.example\"], resolution: DNS_ROUND_ROBIN", "must be a full name"),
        Arguments.of(
            TLS + "hosts: [a.example], resolution: DNS, endpoints: [{address: \"b_c\"}]",
            "underscore"),
        Arguments.of(
            TLS
                + "hosts: [a.example], resolution: DNS_ROUND_ROBIN, endpoints: [{address:"
                + " b.example}, {address: c.example}]",
            "no or one endpoint"),
        Arguments.of(
            TLS
                + "hosts: [a.example], resolution: DNS, endpoints: [{address: b.example, ports:"
                + " {tsl: 1}}]",
            "\"tsl\" is not the name of a port of this entry; did you mean \"tls\"?"),
        Arguments.of(
            TLS
                + "hosts: [a.example], resolution: DNS, endpoints: [{address: b.example, labels:"
                + " {\"a b\": c}}]",
            "not a valid label"),
        Arguments.of(
            TLS
                + "hosts: [a.example], resolution: STATIC, endpoints: [{address: 192.0.2.1}],"
                + " workloadSelector: {labels: {a: b}}",
            "exclude each other"),
        Arguments.of(
            TLS + "hosts: [a.example], resolution: STATIC, workloadSelector: {labels: {a: \"*\"}}",
            "wildcards are not allowed"),
        Arguments.of(
            "hosts: [a.example, b.example], addresses: [192.0.2.1], ports: [{number: 1, name: a,"
                + " protocol: TCP}], resolution: DNS",
            "several hosts need"),
        Arguments.of(TLS + "hosts: [a.example], exportTo: [., n]", "is there twice"),
        Arguments.of(TLS + "hosts: [a.example], exportTo: [\"*\", other]", "must stand alone"),
        Arguments.of(TLS + "hosts: [a.example], exportTo: [\"~\", other]", "must stand alone"),
        Arguments.of(
            TLS + "hosts: [a.example], exportTo: [Not_A_Namespace]", "neither a namespace nor"),
        // DYNAMIC_DNS
        Arguments.of(TLS + "hosts: [a.example], resolution: DYNAMIC_DNS", "must be a wildcard"),
        Arguments.of(
            TLS + "hosts: [\"*.example\"], addresses: [192.0.2.1], resolution: DYNAMIC_DNS",
            "spec.addresses: cannot be set"),
        Arguments.of(
            TLS
                + "hosts: [\"*.example\"], endpoints: [{address: 192.0.2.1}], resolution:"
                + " DYNAMIC_DNS",
            "spec.endpoints: cannot be set"),
        Arguments.of(
            "ports: [{number: 1, name: a, protocol: HTTPS}], hosts: [\"*.example\"], resolution:"
                + " DYNAMIC_DNS",
            "write TLS instead of HTTPS"),
        Arguments.of(
            "ports: [{number: 1, name: a, protocol: TCP}], hosts: [\"*.example\"], resolution:"
                + " DYNAMIC_DNS",
            "must be HTTP, TLS, GRPC or HTTP2"),
        Arguments.of(
            "ports: [{number: 1, name: a, protocol: GRPC-Web}], hosts: [\"*.example\"], resolution:"
                + " DYNAMIC_DNS",
            "must be HTTP, TLS, GRPC or HTTP2"),
        Arguments.of(
            "ports: [{number: 1, name: a}], hosts: [\"*.example\"], resolution: DYNAMIC_DNS",
            "not unset"));
  }

  @ParameterizedTest
  @MethodSource("errors")
  void everyRuleHasItsError(String spec, String message) {
    List<Problem> errors = problems(spec, "").stream().filter(Problem::isError).toList();
    assertThat(errors).extracting(Problem::text).as(spec).anyMatch(t -> t.contains(message));
    assertThat(errors).allMatch(e -> e.line() > 0 && e.text().contains("ServiceEntry/n/x"));
  }

  static Stream<Arguments> warnings() {
    return Stream.of(
        Arguments.of(TLS + "hosts: [\"*foo.example\"], resolution: NONE", "covers nothing"),
        Arguments.of(
            TLS + "hosts: [a.example], resolution: NONE, workloadSelector: {labels: {a: b}}",
            "no effect with resolution NONE"),
        Arguments.of(
            TLS + "hosts: [a.example], resolution: STATIC, workloadSelector: {}",
            "selects nothing"),
        Arguments.of(
            TLS + "hosts: [a.example], resolution: STATIC, endpoints: [{network: n2}]",
            "endpoints of other networks"),
        Arguments.of(
            "hosts: [a.example], resolution: DNS, ports: [{number: 1, name: a, protocol: TCP}]",
            "takes every connection"),
        Arguments.of(
            "hosts: [a.example], resolution: DNS, ports: [{number: 1, name: a}]",
            "has no protocol"),
        Arguments.of("hosts: [a.example], resolution: DNS", "has no ports"),
        Arguments.of(
            "hosts: [a.example, b.example], resolution: NONE, addresses: [192.0.2.1], ports:"
                + " [{number: 1, name: a, protocol: TCP}]",
            "share their addresses"));
  }

  @ParameterizedTest
  @MethodSource("warnings")
  void someThingsAreOnlyWarned(String spec, String message) {
    List<Problem> problems = problems(spec, "");
    assertThat(problems).as(spec).noneMatch(Problem::isError);
    assertThat(problems).extracting(Problem::text).as(spec).anyMatch(t -> t.contains(message));
  }

  @Test
  void internalDynamicDnsMayNotBeBoundToAWaypoint() {
    String spec = TLS + "hosts: [\"*.example\"], location: MESH_INTERNAL, resolution: DYNAMIC_DNS";
    String label = ", labels: {istio.io/use-waypoint: %s}";
    assertThat(problems(spec, label.formatted("way")))
        .anyMatch(p -> p.isError() && p.text().contains("waypoint"));
    assertThat(problems(spec, label.formatted("None"))).noneMatch(Problem::isError);
    assertThat(problems(spec, "")).noneMatch(Problem::isError);
  }

  @Test
  void fullEntryIsRead() {
    assertThat(
            problems(
                "hosts: [a.example, \"*.b.example\"], addresses: [192.0.2.0/24, \"2001:db8::1\"],"
                    + " ports: [{number: 443, name: tls, protocol: tls, targetPort: 8443}, {number:"
                    + " 8443, name: https, protocol: HTTPS}], location: MESH_EXTERNAL, resolution:"
                    + " STATIC, endpoints: [{address: 192.0.2.1, ports: {tls: 1, https: 2}, labels:"
                    + " {a: b}, network: n, locality: r/z/s, weight: 3, serviceAccount: sa}],"
                    + " exportTo: [., other], subjectAltNames: [\"spiffe://x\"]",
                ", creationTimestamp: \"2026-01-01T00:00:00Z\", labels: {a: b}, annotations: {c:"
                    + " d}"))
        .isEmpty();
  }

  @Test
  void badAnnotationOfTheRootNamespaceIsAnError() {
    assertThat(
            Policies.compile(
                    Policies.REGISTRY_ONLY,
                    EgressSettings.DEFAULTS,
                    "apiVersion: networking.istio.io/v1\n"
                        + "kind: ServiceEntry\n"
                        + "metadata: {name: x, namespace: istio-system, annotations:"
                        + " {tailwater.io/allow-addresses: \"10/8\"}}\n"
                        + "spec: {hosts: [a.example], "
                        + TLS
                        + "resolution: DNS}\n")
                .problems())
        .anyMatch(p -> p.isError() && p.text().contains("tailwater.io/allow-addresses"));
  }
}
