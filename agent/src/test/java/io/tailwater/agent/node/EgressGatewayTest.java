package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.tailwater.lab.Certificates;
import io.tailwater.lab.EnvoyInstall;
import io.tailwater.lab.LabException;
import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.Running;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/// The classic way out of a mesh: the pod's TLS goes to an egress gateway by its server name,
/// inside mutual TLS or as it is, and the gateway, a real Envoy, goes on by the inner server name.
/// Under REGISTRY_ONLY. Skipped where Envoy cannot be had; fails there under `CI=true`.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "python3", "ss"})
class EgressGatewayTest {
  private static final String GATEWAY = "198.51.100.90";
  private static final String SERVICE = "istio-egressgateway.istio-system.svc.cluster.local";
  private static final String CLIENT = "egress-client.example";

  /// One Gateway, four hosts, a subset for each way of speaking to it. The routes of the gateway's
  /// own part are not the node's.
  private static final String POLICIES =
      """
      apiVersion: v1
      kind: Service
      metadata: {name: istio-egressgateway, namespace: istio-system}
      spec:
        clusterIP: 203.0.113.60
        selector: {istio: egressgateway}
        ports:
          - {name: tls-mutual, port: 443, targetPort: 8443}
          - {name: tls-passthrough, port: 15443, targetPort: 15443}
      ---
      apiVersion: discovery.k8s.io/v1
      kind: EndpointSlice
      metadata: {name: egress-1, namespace: istio-system, labels: {kubernetes.io/service-name: istio-egressgateway}}
      addressType: IPv4
      endpoints: [{addresses: [198.51.100.90], targetRef: {kind: Pod, name: egress-0, namespace: istio-system}}]
      ports: [{name: tls-mutual, port: 8443}, {name: tls-passthrough, port: 15443}]
      ---
      apiVersion: v1
      kind: Pod
      metadata: {name: egress-0, namespace: istio-system, labels: {istio: egressgateway}}
      spec: {serviceAccountName: egress}
      status: {podIP: 198.51.100.90, podIPs: [{ip: 198.51.100.90}], conditions: [{type: Ready, status: "True"}]}
      ---
      apiVersion: networking.istio.io/v1
      kind: Gateway
      metadata: {name: egress, namespace: istio-system}
      spec:
        selector: {istio: egressgateway}
        servers:
          - port: {number: 8443, name: tls, protocol: TLS}
            hosts: ["*"]
            tls: {mode: PASSTHROUGH}
      ---
      apiVersion: networking.istio.io/v1
      kind: DestinationRule
      metadata: {name: egress, namespace: istio-system}
      spec:
        host: istio-egressgateway.istio-system.svc.cluster.local
        subsets:
          - name: mutual
            trafficPolicy:
              portLevelSettings:
                - port: {number: 443}
                  tls:
                    mode: MUTUAL
                    sni: edition.cnn.com
                    clientCertificate: CLIENT.pem
                    privateKey: CLIENT.key
                    caCertificates: AUTHORITY
                    subjectAltNames: [istio-egressgateway.istio-system.svc.cluster.local]
          - name: impostor
            trafficPolicy:
              portLevelSettings:
                - port: {number: 443}
                  tls:
                    mode: MUTUAL
                    sni: edition.cnn.com
                    clientCertificate: CLIENT.pem
                    privateKey: CLIENT.key
                    caCertificates: AUTHORITY
                    subjectAltNames: [other.istio-system.svc.cluster.local]
          - name: stranger
            trafficPolicy:
              portLevelSettings:
                - port: {number: 443}
                  tls:
                    mode: MUTUAL
                    sni: edition.cnn.com
                    clientCertificate: STRANGER.pem
                    privateKey: STRANGER.key
                    caCertificates: AUTHORITY
                    subjectAltNames: [istio-egressgateway.istio-system.svc.cluster.local]
          - name: mesh
            trafficPolicy: {portLevelSettings: [{port: {number: 443}, tls: {mode: ISTIO_MUTUAL, sni: edition.cnn.com}}]}
          - name: passthrough
      """
          + out("cnn", "edition.cnn.com", "DNS", 443, "mutual")
          + out("static", "static.example.net", "DNS", 443, "impostor")
          + out("org", "example.org", "DNS", 443, "stranger")
          + out("dialled", "as-dialled.example.net", "DNS", 443, "mesh")
          + out("wikipedia", "*.wikipedia.org", "DYNAMIC_DNS", 15443, "passthrough");

  /// Terminates mutual TLS on 8443, looks at the ClientHello inside, and goes where it says; on
  /// 15443 the same without the outer TLS.
  private static final String ENVOY =
      """
      bootstrap_extensions:
      - name: envoy.bootstrap.internal_listener
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener
      static_resources:
        listeners:
        - name: mutual
          address: {socket_address: {address: 0.0.0.0, port_value: 8443}}
          listener_filters:
          - &inspector
            name: envoy.filters.listener.tls_inspector
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector
          filter_chains:
          - filter_chain_match: {server_names: ["edition.cnn.com"]}
            transport_socket:
              name: envoy.transport_sockets.tls
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
                require_client_certificate: true
                common_tls_context:
                  tls_certificates:
                  - certificate_chain: {filename: GATEWAY.pem}
                    private_key: {filename: GATEWAY.key}
                  validation_context:
                    trusted_ca: {filename: AUTHORITY}
                    match_typed_subject_alt_names:
                    - san_type: DNS
                      matcher: {exact: egress-client.example}
            filters:
            - name: envoy.filters.network.tcp_proxy
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
                stat_prefix: mutual
                cluster: inner
                access_log:
                - name: envoy.access_loggers.file
                  typed_config:
                    "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
                    path: FOLDER/access.log
                    log_format: {text_format_source: {inline_string: "outer sni=%REQUESTED_SERVER_NAME% client=%DOWNSTREAM_PEER_DNS_SAN% %DOWNSTREAM_TLS_VERSION%\\n"}}
        - name: inner
          internal_listener: {}
          listener_filters: [*inspector]
          filter_chains: &by_name
          - filter_chain_match: {server_names: ["edition.cnn.com", "*.wikipedia.org"]}
            filters:
            - name: envoy.filters.network.sni_dynamic_forward_proxy
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig
                port_value: 443
                dns_cache_config: &cache
                  name: egress
                  dns_lookup_family: V4_ONLY
                  typed_dns_resolver_config:
                    name: envoy.network.dns_resolver.cares
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
                      resolvers: [{socket_address: {address: NAMESERVER, port_value: 53}}]
                      dns_resolver_options: {no_default_search_domain: true}
            - name: envoy.filters.network.tcp_proxy
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
                stat_prefix: by_name
                cluster: by_name
                access_log:
                - name: envoy.access_loggers.file
                  typed_config:
                    "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
                    path: FOLDER/access.log
                    log_format: {text_format_source: {inline_string: "inner sni=%REQUESTED_SERVER_NAME% upstream=%UPSTREAM_HOST%\\n"}}
        - name: passthrough
          address: {socket_address: {address: 0.0.0.0, port_value: 15443}}
          listener_filters: [*inspector]
          filter_chains: *by_name
        clusters:
        - name: inner
          connect_timeout: 5s
          load_assignment:
            cluster_name: inner
            endpoints:
            - lb_endpoints:
              - endpoint: {address: {envoy_internal_address: {server_listener_name: inner}}}
          transport_socket:
            name: envoy.transport_sockets.internal_upstream
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport
              transport_socket:
                name: envoy.transport_sockets.raw_buffer
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer
        - name: by_name
          lb_policy: CLUSTER_PROVIDED
          connect_timeout: 5s
          cluster_type:
            name: envoy.clusters.dynamic_forward_proxy
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig
              dns_cache_config: *cache
      """;

  private static World world;
  private static Place gateway;
  private static Path gatewayLog;
  private static RunningAgent agent;

  /// The entry of a host and the VirtualService that sends its TLS to the gateway.
  private static String out(String name, String host, String resolution, int port, String subset) {
    return """
    ---
    apiVersion: networking.istio.io/v1
    kind: ServiceEntry
    metadata: {name: NAME, namespace: default}
    spec:
      hosts: ["HOST"]
      location: MESH_EXTERNAL
      ports: [{number: 443, name: tls, protocol: TLS}]
      resolution: RESOLUTION
    ---
    apiVersion: networking.istio.io/v1
    kind: VirtualService
    metadata: {name: NAME, namespace: default}
    spec:
      hosts: ["HOST"]
      gateways: [mesh, istio-system/egress]
      tls:
        - match: [{gateways: [mesh], port: 443, sniHosts: ["HOST"]}]
          route: [{destination: {host: SERVICE, subset: SUBSET, port: {number: PORT}}}]
        - match: [{gateways: [istio-system/egress], port: 8443, sniHosts: ["HOST"]}]
          route: [{destination: {host: "HOST", port: {number: 443}}}]
    """
        .replace("NAME", name)
        .replace("HOST", host)
        .replace("RESOLUTION", resolution)
        .replace("SERVICE", SERVICE)
        .replace("SUBSET", subset)
        .replace("PORT", Integer.toString(port));
  }

  /// Envoy's program; without it there is nothing to test against.
  private static Path envoy() {
    try {
      return EnvoyInstall.binary(Path.of("..", ".tailwater", "peers").toAbsolutePath().normalize());
    } catch (LabException e) {
      String reason = "no Envoy for the egress gateway: " + e.getMessage();
      if ("true".equals(System.getenv("CI"))) {
        throw new AssertionError("must run where CI=true: " + reason, e);
      }
      System.err.println("SKIPPED EgressGatewayTest: " + reason);
      assumeTrue(false, reason);
      throw e;
    }
  }

  @BeforeAll
  static void start() {
    Path envoy = envoy();
    world = World.build();
    gateway = world.lab.addHost("gateway", GATEWAY);
    Path folder = world.lab.folder("envoy");
    gatewayLog = folder.resolve("access.log");
    Certificates.Leaf own = world.authority.issue(SERVICE);
    Path configuration =
        World.write(
            folder.resolve("envoy.yaml"),
            ENVOY
                .replace("FOLDER", folder.toString())
                .replace("NAMESERVER", world.nameserver.v4())
                .replace("AUTHORITY", world.authority.authority().toString())
                .replace("GATEWAY.pem", own.certificate().toString())
                .replace("GATEWAY.key", own.key().toString()));
    Running running =
        world.lab.start(
            gateway,
            "envoy",
            Map.of(),
            List.of(
                envoy.toString(),
                "-c",
                configuration.toString(),
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "--file-flush-interval-msec",
                "100",
                "--log-level",
                "warn"));
    running.awaitTcp(8443, Duration.ofSeconds(20));
    running.awaitTcp(15443, Duration.ofSeconds(20));
    Certificates.Leaf client = world.authority.issue(CLIENT);
    Certificates.Leaf stranger = world.authority.issue("stranger.example");
    Path policies =
        world.policies(
            POLICIES
                .replace("CLIENT.pem", client.certificate().toString())
                .replace("CLIENT.key", client.key().toString())
                .replace("STRANGER.pem", stranger.certificate().toString())
                .replace("STRANGER.key", stranger.key().toString())
                .replace("AUTHORITY", world.authority.authority().toString()));
    agent =
        RunningAgent.start(
            world,
            world.configuration(
                policies, "mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n"));
  }

  @AfterAll
  static void stop() {
    if (world != null) {
      world.close();
    }
  }

  private static void arrivesByTheGateway(Result curl, String site) {
    assertThat(curl.exit())
        .as("%s\n%s\n%s", curl.stderr(), agent.log(), World.read(gatewayLog))
        .isZero();
    assertThat(curl.stdout())
        .contains("host=" + site)
        .contains("server=" + World.v4(site))
        .contains("client=" + GATEWAY)
        .endsWith("200\n");
  }

  private static void awaitGateway(String line) {
    World.await(
        () -> "in the gateway's log: " + line + "\n" + World.read(gatewayLog),
        () -> World.read(gatewayLog).contains(line));
  }

  @Test
  void thePodsTlsGoesInsideMutualTlsToTheGatewayAndOnByTheInnerServerName() {
    arrivesByTheGateway(world.curlViaDecoy(world.ratings, "edition.cnn.com"), "edition.cnn.com");
    awaitGateway("outer sni=edition.cnn.com client=" + CLIENT + " TLSv1.3");
    awaitGateway("inner sni=edition.cnn.com upstream=" + World.v4("edition.cnn.com") + ":443");
    assertThat(agent.awaitAccess("sni=\"edition.cnn.com\"", "connection complete"))
        .contains("cluster=\"outbound|443|mutual|" + SERVICE + "\"")
        .contains("original_dst=" + World.DECOY + ":443");
  }

  @Test
  void manyBytesComeThroughTlsInTls() {
    Result curl =
        world.curl(
            world.ratings,
            "https://edition.cnn.com/big",
            "--resolve",
            "edition.cnn.com:443:" + World.DECOY,
            "-r",
            "0-33554431",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{size_download}\\n");
    assertThat(curl.stdout()).as("%s\n%s", curl.stderr(), agent.log()).isEqualTo("206 33554432\n");
  }

  @Test
  void aWholeWildcardGoesToTheGatewayWithoutASecondTls() {
    for (String site : List.of("en.wikipedia.org", "de.wikipedia.org")) {
      arrivesByTheGateway(world.curlViaDecoy(world.ratings, site), site);
      awaitGateway("inner sni=" + site + " upstream=" + World.v4(site) + ":443");
      assertThat(agent.awaitAccess("sni=\"" + site + "\"", "connection complete"))
          .contains("cluster=\"outbound|15443|passthrough|" + SERVICE + "\"");
    }
  }

  @Test
  void aGatewayWithoutTheWantedNameGetsNothing() {
    Result curl = world.curlViaDecoy(world.ratings, "static.example.net");
    assertThat(curl.ok()).isFalse();
    assertThat(agent.awaitAccess("sni=\"static.example.net\"", "connect_failed"))
        .contains(
            "the server's certificate carries "
                + SERVICE
                + ", but none of the subjectAltNames other.");
    assertThat(World.read(gatewayLog)).doesNotContain("sni=static.example.net");
    assertThat(world.upstream.accessLog()).doesNotContain("static.example.net");
  }

  @Test
  void aClientCertificateThatTheGatewayDoesNotKnowReachesNothing() {
    assertThat(world.curlViaDecoy(world.ratings, "example.org").ok()).isFalse();
    agent.awaitAccess("sni=\"example.org\"", "cluster=\"outbound|443|stranger|" + SERVICE + "\"");
    assertThat(World.read(gatewayLog)).doesNotContain("inner sni=example.org");
    assertThat(world.upstream.accessLog()).doesNotContain("example.org");
  }

  @Test
  void theMeshsOwnCertificateHasNoSourceYetAndNothingIsSentWithoutIt() {
    Result curl = world.curlViaDecoy(world.ratings, "as-dialled.example.net");
    assertThat(curl.ok()).isFalse();
    assertThat(agent.awaitAccess("sni=\"as-dialled.example.net\"", "reason="))
        .contains("mode ISTIO_MUTUAL shows the workload's certificate");
    assertThat(World.read(gatewayLog)).doesNotContain("as-dialled.example.net");
    assertThat(world.upstream.accessLog()).doesNotContain("as-dialled.example.net");
  }

  @Test
  void explainNamesTheGatewayAndItsTls() {
    assertThat(
            agent
                .page("15000/explain?from=default/ratings-v1&to=edition.cnn.com:443&format=text")
                .stdout())
        .contains("outbound|443|mutual|" + SERVICE)
        .contains("MUTUAL, server name edition.cnn.com, the certificate must be for " + SERVICE)
        .contains("VirtualService/default/cnn");
  }
}
