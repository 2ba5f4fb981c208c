package io.tailwater.agent.control.istio;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.dataplane.route.TextMatch;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/// One case for each rule of validation: the spec, and a part of the one message that it must give.
class VirtualServiceReaderTest {
  private static final String TO = "route: [{destination: {host: b.example}}]";

  private static OneResource<VirtualService> read(String spec) {
    return OneResource.istio(VirtualServiceReader::read, "VirtualService", spec);
  }

  private static String http(String route) {
    return "{hosts: [a.example], http: [{" + route + "}]}";
  }

  private static String tls(String match) {
    return "{hosts: [a.example], tls: [{match: [{" + match + "}], " + TO + "}]}";
  }

  private static String tcp(String route) {
    return "{hosts: [a.example], tcp: [{" + route + "}]}";
  }

  static Stream<Arguments> errors() {
    return Stream.of(
        Arguments.of("{hosts: [a.example]}", "spec: has no routes"),
        Arguments.of("{hosts: [\"*\"], http: [{" + TO + "}]}", "spec.hosts[0]: \"*\" alone"),
        Arguments.of("{hosts: [\"a_b.c\"], http: [{" + TO + "}]}", "has an underscore"),
        Arguments.of(
            "{hosts: [a.example, a.example], http: [{" + TO + "}]}", "have names in common"),
        Arguments.of(
            "{hosts: [a.b.example, \"*.example\"], http: [{" + TO + "}]}", "have names in common"),
        Arguments.of(
            "{hosts: [a.example], gateways: [a/b/c], http: [{" + TO + "}]}",
            "gateways[0]: \"a/b/c\" is no NAMESPACE/NAME"),
        Arguments.of(tls("port: 443"), "sniHosts: is missing"),
        Arguments.of(tls("sniHosts: [b.example]"), "\"b.example\" is not among the hosts"),
        Arguments.of(tls("sniHosts: [\"*.example\"]"), "\"*.example\" is not among the hosts"),
        Arguments.of(tls("sniHosts: [a.example], port: 65536"), "port: must be between"),
        Arguments.of(
            tls("sniHosts: [a.example], destinationSubnets: [x]"), "neither an IP address nor"),
        Arguments.of(
            tls("sniHosts: [a.example], sourceLabels: {\"a b\": c}"), "is not a valid label"),
        Arguments.of(
            tls("sniHosts: [a.example], sourceNamespace: A"), "is not a valid namespace name"),
        Arguments.of("{hosts: [a.example], tls: [{" + TO + "}]}", "tls[0].match: is missing"),
        Arguments.of(
            "{hosts: [a.example], tls: [{match: [{sniHosts: [a.example]}]}]}",
            "tls[0].route: is missing"),
        Arguments.of(tcp("match: [{port: 1}]"), "tcp[0].route: is missing"),
        Arguments.of(tcp("route: [{weight: 1}]"), "route[0].destination: is missing"),
        Arguments.of(tcp("route: [{destination: {}}]"), "destination.host: is missing"),
        Arguments.of(tcp("route: [{destination: {host: \"*\"}}]"), "\"*\" is no destination"),
        Arguments.of(
            tcp("route: [{destination: {host: b.c, subset: v_1}}]"), "\"v_1\" is not a DNS label"),
        Arguments.of(
            tcp("route: [{destination: {host: b.c, port: {}}}]"), "port.number: is missing"),
        Arguments.of(
            tcp("route: [{destination: {host: b.c}}, {destination: {host: d.e}}]"),
            "route: the weights add up to 0"),
        Arguments.of(http("match: [{port: 80}]"), "a destination, redirect or directResponse"),
        Arguments.of(http(TO + ", redirect: {uri: /}"), "redirect: and route exclude each other"),
        Arguments.of(http("redirect: {}"), "redirect: sets nothing"),
        Arguments.of(http("redirect: {uri: /, redirectCode: 200}"), "must be 3xx, not 200"),
        Arguments.of(http("directResponse: {status: 99}"), "status: must be between 200 and 599"),
        Arguments.of(http(TO + ", timeout: -1s"), "timeout: \"-1s\" is no duration"),
        Arguments.of(
            http(TO + ", retries: {attempts: 0, perTryTimeout: 1s}"),
            "attempts: is 0, which turns"),
        Arguments.of(
            http(TO + ", retries: {attempts: 1, retryOn: sometimes}"), "no condition of retries"),
        Arguments.of(http(TO + ", rewrite: {}"), "rewrite: sets nothing"),
        Arguments.of(
            http(TO + ", rewrite: {authority: x}, headers: {request: {set: {Host: y}}}"),
            "must not set the authority"),
        Arguments.of(http(TO + ", headers: {request: {remove: [Host]}}"), "cannot be changed here"),
        Arguments.of(http(TO + ", headers: {response: {set: {\"a b\": c}}}"), "is no header name"),
        Arguments.of(http(TO + ", match: [{uri: {regex: \"(\"}}]"), "is no expression of RE2"),
        Arguments.of(http(TO + ", match: [{uri: {exact: /a, prefix: /a}}]"), "exclude each other"),
        Arguments.of(
            http(TO + ", match: [{headers: {\"@request.auth.claims.a\": {exact: b}}}]"),
            "JWT claims are for gateways"),
        Arguments.of(http(TO + ", fault: {}"), "fault: sets nothing"),
        Arguments.of(
            http(TO + ", fault: {abort: {httpStatus: 42}}"), "httpStatus: must be between"),
        Arguments.of(http(TO + ", mirrorPercentage: {value: 101}"), "must be between 0 and 100"),
        Arguments.of(http(TO + ", corsPolicy: {allowMethods: [FETCH]}"), "\"FETCH\" is no method"),
        Arguments.of(
            "{gateways: [mesh], http: [{" + TO + "}]}", "gateways: cannot be set without hosts"),
        Arguments.of(
            "{hosts: [a.example], exportTo: [\"~\"], http: [{" + TO + "}]}",
            "is for ServiceEntries alone"));
  }

  @ParameterizedTest
  @MethodSource("errors")
  void tellsWhatIsWrongAndLeavesTheResourceOut(String spec, String message) {
    OneResource<VirtualService> read = read(spec);

    assertThat(read.errors()).singleElement().asString().contains(message);
    assertThat(read.resource()).isEmpty();
  }

  @Test
  void everyHostIsAllowedForGatewaysAlone() {
    assertThat(read("{hosts: [\"*\"], gateways: [ns/gw], http: [{" + TO + "}]}").errors())
        .isEmpty();
    assertThat(
            read("{hosts: [outbound_.443_._.a.example], gateways: [ns/gw], tls: [{match:"
                    + " [{sniHosts: [outbound_.443_._.a.example]}], "
                    + TO
                    + "}]}")
                .errors())
        .isEmpty();
  }

  @Test
  void shortNamesAreServicesOfItsNamespace() {
    VirtualService read =
        read("{hosts: [web], http: [{route: [{destination: {host: web, subset: v2}}]}]}").valid();

    assertThat(read.hosts()).containsExactly(new HostScope("web.shop.svc.cluster.local", false));
    assertThat(read.http().getFirst().route().getFirst().destination().host())
        .isEqualTo("web.shop.svc.cluster.local");
  }

  @Test
  void headersAreComparedByTheirNameInLowerCase() {
    VirtualService.HttpMatch match =
        read(http(TO + ", match: [{headers: {X-User: {prefix: j}, X-Any: {}}}]"))
            .valid()
            .http()
            .getFirst()
            .match()
            .getFirst();

    assertThat(match.headers())
        .isEqualTo(Map.of("x-user", new TextMatch.Prefix("j"), "x-any", new TextMatch.Present()));
  }

  @Test
  void whatCannotBeLeftOutOfARouteIsToldAndKept() {
    OneResource<VirtualService> read = read(http("redirect: {uri: /elsewhere}"));

    assertThat(read.valid().http().getFirst().cannot()).contains("redirect is not honoured");
    assertThat(read.warnings()).singleElement().asString().contains("not_supported_yet");
  }

  @Test
  void whatIsLeftOutIsTold() {
    assertThat(read(http(TO + ", mirror: {host: c.example}")).warnings())
        .singleElement()
        .asString()
        .contains("mirror: is not honoured");
    assertThat(read(http(TO + ", fault: {delay: {fixedDelay: 5s}}")).warnings())
        .singleElement()
        .asString()
        .contains("delay: is not honoured");
  }

  @Test
  void aRouteAfterOneThatTakesEverythingIsTold() {
    assertThat(read("{hosts: [a.example], http: [{" + TO + "}, {" + TO + "}]}").warnings())
        .singleElement()
        .asString()
        .contains("spec.http[1]: is never used");
  }

  @Test
  void aSourceIsThePodItsNamespaceAndThePort() {
    VirtualService.Source source =
        read(tls("sniHosts: [a.example], port: 443, sourceLabels: {app: x}, sourceNamespace: shop"))
            .valid()
            .tls()
            .getFirst()
            .match()
            .getFirst()
            .source();

    Map<String, String> app = Map.of("app", "x");

    assertThat(source.holds(443, "shop", app::equals)).isTrue();
    assertThat(source.holds(444, "shop", app::equals)).isFalse();
    assertThat(source.holds(443, "other", app::equals)).isFalse();
    assertThat(source.holds(443, "shop", _ -> false)).isFalse();
  }
}
