package io.tailwater.agent.control.istio;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.traffic.AddressText;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/// WorkloadEntries, Kubernetes' own kinds, waypoints and Istio's Gateways.
class DestinationReadersTest {
  private static final String META = "\nmetadata: {name: x, namespace: shop";

  private static OneResource<WorkloadEntry> workload(String spec) {
    return OneResource.istio(WorkloadEntryReader::read, "WorkloadEntry", spec);
  }

  static Stream<Arguments> workloadErrors() {
    return Stream.of(
        Arguments.of("{}", "spec.address: is missing"),
        Arguments.of("{address: \"a b\"}", "is no IP address, and as a name"),
        Arguments.of("{address: \"*.example\"}", "is no IP address, and as a name"),
        Arguments.of("{address: \"unix://x\"}", "absolute path"),
        Arguments.of("{address: \"unix:///x\", ports: {a: 1}}", "has no ports"),
        Arguments.of("{address: 10.0.0.1, ports: {a: 0}}", "between 1 and 65535"),
        Arguments.of("{address: 10.0.0.1, ports: {a.b: 1}}", "port name \"a.b\""),
        Arguments.of("{address: 10.0.0.1, labels: {\"a b\": c}}", "not a valid label"),
        Arguments.of("{address: 10.0.0.1, port: 1}", "did you mean \"ports\""));
  }

  @ParameterizedTest
  @MethodSource("workloadErrors")
  void whatIstioRefusesOfAWorkloadEntryIsAnError(String spec, String message) {
    assertThat(workload(spec).errors()).singleElement().asString().contains(message);
  }

  @Test
  void aWorkloadOfAnotherNetworkNeedsNoAddress() {
    OneResource<WorkloadEntry> read = workload("{network: other}");

    assertThat(read.errors()).isEmpty();
    assertThat(read.warnings()).hasSize(1);
    assertThat(read.valid().place()).isInstanceOf(ServiceEntry.Place.Elsewhere.class);
  }

  @Test
  void aWorkloadHasTheLabelsOfItsResourceToo() {
    WorkloadEntry entry =
        OneResource.read(
                WorkloadEntryReader::read,
                "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry"
                    + META
                    + ", labels: {app: outer, tier: web}}\nspec: {address: 10.0.0.1, labels: {app:"
                    + " inner, networking.istio.io/tunnel: http}}\n")
            .valid();

    assertThat(entry.labels()).containsEntry("app", "outer").containsEntry("tier", "web");
    assertThat(entry.hbone()).isTrue();
  }

  // ---- Kubernetes --------------------------------------------------------------------------

  private static OneResource<KubeService> service(String more, String spec) {
    return OneResource.read(
        KubeReader::service,
        "apiVersion: v1\nkind: Service" + META + more + "}\nspec: " + spec + "\n");
  }

  @Test
  void aServiceHasItsAddressesAndTcpPorts() {
    KubeService service =
        service(
                ", annotations: {networking.istio.io/exportTo: \"., web\"}",
                "{clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9, \"fd00::9\"], selector: {app: a},"
                    + " sessionAffinity: None, ports: [{name: http, port: 80, targetPort: 8080},"
                    + " {name: dns, port: 53, protocol: UDP}, {name: admin, port: 81, targetPort:"
                    + " adm}, {name: x, port: 82}]}")
            .valid();

    assertThat(service.addresses())
        .extracting(AddressText::of)
        .containsExactly("10.96.0.9", "fd00::9");
    assertThat(service.ports())
        .containsExactly(
            new KubeService.Port(
                80, "http", Protocol.HTTP, new KubeService.TargetPort.Numbered(8080)),
            new KubeService.Port(
                81, "admin", Protocol.UNSET, new KubeService.TargetPort.Named("adm")),
            new KubeService.Port(82, "x", Protocol.UNSET, new KubeService.TargetPort.Numbered(82)));
    assertThat(service.exportTo()).containsExactly(".", "web");
  }

  @Test
  void headlessAndExternalServicesHaveNoAddress() {
    assertThat(service("", "{clusterIP: None, clusterIPs: [None]}").valid().headless()).isTrue();
    KubeService external =
        service("", "{type: ExternalName, externalName: api.example.com}").valid();
    assertThat(external.externalName().orElseThrow().text()).isEqualTo("api.example.com");
    assertThat(external.addresses()).isEmpty();
  }

  @Test
  void whatCannotBeReadOfAServiceIsAnError() {
    assertThat(service("", "{clusterIP: here}").errors())
        .singleElement()
        .asString()
        .contains("None");
    assertThat(service("", "{ports: [{name: a}]}").errors())
        .singleElement()
        .asString()
        .contains("ports[0].port: is missing");
    assertThat(service("", "{ports: [{port: 80, name: a, targetPort: 70000}]}").errors())
        .singleElement()
        .asString()
        .contains("between 0 and 65535");
    assertThat(service(", annotations: {networking.istio.io/exportTo: \"a b\"}", "{}").errors())
        .singleElement()
        .asString()
        .contains("neither a namespace");
  }

  @ParameterizedTest
  @CsvSource({
    "80, http, , HTTP",
    "80, http-web, , HTTP",
    "80, HTTP2-x, , HTTP2",
    "80, grpc-web-x, , GRPC_WEB",
    "80, grpc, , GRPC",
    "443, https, , HTTPS",
    "443, tls-x, , TLS",
    "80, web, , UNSET",
    "80, '', , UNSET",
    "80, web, http, HTTP",
    "80, http, tcp, TCP",
    "80, http, kubernetes.io/h2c, HTTP2",
    "80, x, kubernetes.io/ws, HTTP",
    "80, x, kubernetes.io/wss, HTTPS",
    "15008, mesh, hbone, UNSET",
    "3306, db, , TCP",
    "3306, http, , HTTP",
    "6379, redis, , REDIS"
  })
  void aPortSpeaksWhatItsNameOrAppProtocolSays(
      int number, String name, String application, Protocol protocol) {
    assertThat(KubeReader.protocol(number, name, Optional.ofNullable(application)))
        .isEqualTo(protocol);
  }

  @Test
  void anEndpointWithoutConditionsIsReady() {
    EndpointSlice slice =
        OneResource.read(
                KubeReader::endpointSlice,
                "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice"
                    + META
                    + ", labels: {kubernetes.io/service-name: web}}\n"
                    + "addressType: IPv4\n"
                    + "endpoints: [{addresses: [10.1.0.1]}, {addresses: [10.1.0.2], conditions:"
                    + " {ready: false}}, {addresses: [10.1.0.3], conditions: {ready: true}, zone:"
                    + " z1}]\n"
                    + "ports: [{name: http, port: 8080, protocol: TCP}, {name: u, port: 1,"
                    + " protocol: UDP}]\n")
            .valid();

    assertThat(slice.service()).isEqualTo("web");
    assertThat(slice.endpoints())
        .extracting(EndpointSlice.Endpoint::ready)
        .containsExactly(true, false, true);
    assertThat(slice.ports()).isEqualTo(Map.of("http", 8080));
  }

  private static OneResource<KubePod> pod(String more, String spec, String status) {
    return OneResource.read(
        KubeReader::pod,
        "apiVersion: v1\nkind: Pod" + META + more + "}\nspec: " + spec + "\nstatus: " + status);
  }

  @Test
  void aPodIsReadyWhenItsConditionSaysSoAndItStays() {
    String ready = "{podIP: 10.1.0.1, conditions: [{type: Ready, status: \"True\"}]";

    assertThat(pod("", "{}", ready + "}").valid().ready()).isTrue();
    assertThat(pod("", "{}", "{podIP: 10.1.0.1}").valid().ready()).isFalse();
    assertThat(pod("", "{}", ready + ", phase: Succeeded}").valid())
        .extracting(KubePod::ready, KubePod::ended)
        .containsExactly(false, true);
    assertThat(
            pod(", deletionTimestamp: \"2026-01-01T00:00:00Z\"", "{}", ready + "}").valid().ready())
        .isFalse();
  }

  @Test
  void aPodHasAddressesNamedPortsAndATunnel() {
    KubePod pod =
        pod(
                ", annotations: {ambient.istio.io/redirection: enabled}",
                "{hostNetwork: true, containers: [{name: a, image: b, ports: [{name: web,"
                    + " containerPort: 8080}, {name: d, containerPort: 53, protocol: UDP}]}]}",
                "{podIP: 10.1.0.1, podIPs: [{ip: 10.1.0.1}, {ip: \"fd00::1\"}]}")
            .valid();

    assertThat(pod.addresses()).extracting(AddressText::of).containsExactly("10.1.0.1", "fd00::1");
    assertThat(pod.containerPorts()).isEqualTo(Map.of("web", 8080));
    assertThat(pod.hbone()).isTrue();
    assertThat(pod.hostNetwork()).isTrue();
    assertThat(pod("", "{}", "{podIP: nowhere}").errors()).hasSize(1);
  }

  // ---- waypoints ---------------------------------------------------------------------------

  private static OneResource<Waypoint> waypoint(String labels, String listener, String status) {
    return OneResource.read(
        WaypointReader::read,
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway"
            + META
            + ", labels: {"
            + labels
            + "}}\nspec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008,"
            + " protocol: HBONE"
            + listener
            + "}]}\nstatus: "
            + status
            + "\n");
  }

  @Test
  void aWaypointWithoutAddressesIsNotReady() {
    assertThat(waypoint("", "", "{}").valid().ready()).isFalse();
    assertThat(waypoint("", "", "{addresses: [{value: \"\"}]}").valid().ready()).isFalse();
    assertThat(waypoint("", "", "{addresses: [{type: Hostname, value: a.b}]}").valid().ready())
        .isTrue();
  }

  @Test
  void aWaypointAdmitsItsOwnNamespaceUnlessItSaysOtherwise() {
    Waypoint own = waypoint("", "", "{}").valid();
    assertThat(own.admits("shop", Map.of())).isTrue();
    assertThat(own.admits("other", Map.of())).isFalse();

    String routes = ", allowedRoutes: {namespaces: {from: ";
    assertThat(waypoint("", routes + "All}}", "{}").valid().admits("other", Map.of())).isTrue();
    assertThat(waypoint("", routes + "None}}", "{}").valid().admits("shop", Map.of())).isFalse();
    Waypoint selected =
        waypoint("", routes + "Selector, selector: {matchLabels: {team: x}}}}", "{}").valid();
    assertThat(selected.admits("other", Map.of("team", "x"))).isTrue();
    assertThat(selected.admits("shop", Map.of("team", "y"))).isFalse();
    assertThat(waypoint("", routes + "Selector}}", "{}").errors()).hasSize(1);
    assertThat(waypoint("", routes + "Some}}", "{}").errors()).hasSize(1);
  }

  @Test
  void aSelectorKnowsFourOperators() {
    assertThat(expression(LabelSelector.Operator.IN, Map.of("k", "a"))).isTrue();
    assertThat(expression(LabelSelector.Operator.IN, Map.of())).isFalse();
    assertThat(expression(LabelSelector.Operator.NOT_IN, Map.of("k", "a"))).isFalse();
    assertThat(expression(LabelSelector.Operator.NOT_IN, Map.of())).isTrue();
    assertThat(expression(LabelSelector.Operator.EXISTS, Map.of("k", "z"))).isTrue();
    assertThat(expression(LabelSelector.Operator.DOES_NOT_EXIST, Map.of("k", "z"))).isFalse();
  }

  private static boolean expression(LabelSelector.Operator operator, Map<String, String> labels) {
    return new LabelSelector(
            Map.of(), List.of(new LabelSelector.Requirement("k", operator, Set.of("a"))))
        .matches(labels);
  }

  @Test
  void whatAWaypointServesIsOnItsLabel() {
    assertThat(waypoint("", "", "{}").valid().serves()).isEmpty();
    assertThat(waypoint("istio.io/waypoint-for: all", "", "{}").valid().serves())
        .contains(Waypoint.Serves.ALL);
    assertThat(waypoint("istio.io/waypoint-for: none", "", "{}").valid().serves())
        .contains(Waypoint.Serves.NEITHER);
  }

  // ---- Istio's Gateway ---------------------------------------------------------------------

  private static OneResource<ResourceRef> gateway(String servers) {
    return OneResource.istio(
        GatewayReader::read,
        "Gateway",
        "{selector: {istio: egressgateway}, servers: [" + servers + "]}");
  }

  static Stream<Arguments> gatewayErrors() {
    String tls = "port: {number: 443, name: tls, protocol: TLS}, ";
    return Stream.of(
        Arguments.of("", "at least one server"),
        Arguments.of("{" + tls + "tls: {mode: PASSTHROUGH}}", "at least one host"),
        Arguments.of("{hosts: [\"*\"]}", "port: is missing"),
        Arguments.of("{hosts: [a], " + tls + "tls: {mode: PASSTHROUGH}}", "short name"),
        Arguments.of("{hosts: [a.example], " + tls + "}", "tls: is missing"),
        Arguments.of("{hosts: [a.example], " + tls + "tls: {mode: SIMPL}}", "did you mean"),
        Arguments.of(
            "{hosts: [a.example], " + tls + "tls: {mode: SIMPLE, privateKey: k}}",
            "serverCertificate: is missing"),
        Arguments.of(
            "{hosts: [a.example], " + tls + "tls: {mode: ISTIO_MUTUAL, credentialName: c}}",
            "name no others"),
        Arguments.of(
            "{hosts: [a.example], port: {number: 80, name: h, protocol: HTTP}, tls: {mode: SIMPLE,"
                + " credentialName: c}}",
            "only hold httpsRedirect"),
        Arguments.of(
            "{hosts: [a.example], port: {number: 80, protocol: HTTP}}", "port.name: is missing"),
        Arguments.of(
            "{hosts: [a.example], port: {number: 80, name: h}}", "port.protocol: is missing"),
        Arguments.of(
            "{hosts: [a.example], port: {number: 80, name: h, protocol: HTTP, targetPort: 8080}}",
            "targetPort: has no meaning"),
        Arguments.of(
            "{hosts: [a.example], bind: \"unix:///a\", port: {number: 80, name: h, protocol:"
                + " HTTP}}",
            "must be 0 with a bind"),
        Arguments.of(
            "{hosts: [a.example], "
                + tls
                + "tls: {mode: SIMPLE, serverCertificate: c, privateKey:"
                + " k, caCrl: r}}",
            "caCrl: is not possible with mode SIMPLE"));
  }

  @ParameterizedTest
  @MethodSource("gatewayErrors")
  void whatIstioRefusesOfAGatewayIsAnError(String servers, String message) {
    assertThat(gateway(servers).errors()).singleElement().asString().contains(message);
  }

  @Test
  void theUsualGatewaysAreValid() {
    assertThat(
            gateway(
                    "{hosts: [\"*\"], port: {number: 80, name: h, protocol: HTTP}, tls:"
                        + " {httpsRedirect: true}}, {hosts: [\"./*.example\", 10.0.0.1], port:"
                        + " {number: 443, name: t, protocol: TLS}, tls: {mode: PASSTHROUGH}},"
                        + " {hosts: [a.example], port: {number: 81, name: p, protocol: HTTP}, tls:"
                        + " {}}, {hosts: [a.example], port: {number: 8443, name: m, protocol:"
                        + " HTTPS}, tls: {mode: MUTUAL, credentialName: c}}")
                .errors())
        .isEmpty();
  }
}
