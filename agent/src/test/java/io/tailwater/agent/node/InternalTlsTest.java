package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.Certificates;
import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import io.tailwater.lab.Running;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/// Unknown internal destinations by Host with mutual TLS: pods speak plaintext HTTP, the agent
/// shows its certificate and asks the server's for the requested name. Under REGISTRY_ONLY.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
class InternalTlsTest {
  private static final String DETAILS = "details.default.svc.cluster.local";
  private static final String REVIEWS = "reviews.other.svc.cluster.local";

  private static final String POLICIES =
      """
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: internal, namespace: istio-system}
      spec:
        hosts: ["*.svc.cluster.local"]
        location: MESH_INTERNAL
        ports:
          - {number: 9080, name: http, protocol: HTTP}
          - {number: 9081, name: grpc, protocol: GRPC}
          - {number: 9082, name: grpc-old, protocol: GRPC}
        resolution: DYNAMIC_DNS
      ---
      apiVersion: networking.istio.io/v1
      kind: DestinationRule
      metadata: {name: internal, namespace: istio-system}
      spec:
        host: "*.svc.cluster.local"
        trafficPolicy:
          tls:
            mode: MUTUAL
            clientCertificate: CLIENT.pem
            privateKey: CLIENT.key
            caCertificates: AUTHORITY
      """;

  /// Both names are served with the certificate of the first, and every client is asked for one.
  private static final String NGINX =
      """
      daemon off;
      user root;
      worker_processes 1;
      pid FOLDER/nginx.pid;
      events {}
      http {
        access_log FOLDER/access.log;
        client_body_temp_path FOLDER/body;
        proxy_temp_path FOLDER/proxy;
        fastcgi_temp_path FOLDER/fastcgi;
        uwsgi_temp_path FOLDER/uwsgi;
        scgi_temp_path FOLDER/scgi;
        ssl_client_certificate AUTHORITY;
        ssl_verify_client on;
        server {
          listen 9080 ssl default_server;
          listen [::]:9080 ssl default_server;
          listen 9081 ssl http2 default_server;
          listen [::]:9081 ssl http2 default_server;
          listen 9082 ssl default_server;
          listen [::]:9082 ssl default_server;
          server_name DETAILS;
          ssl_certificate RIGHT.pem;
          ssl_certificate_key RIGHT.key;
          location / { return 200 "host=$http_host sni=$ssl_server_name client=$ssl_client_s_dn protocol=$server_protocol uri=$request_uri\\n"; }
        }
        server {
          listen 9080 ssl;
          listen [::]:9080 ssl;
          listen 9081 ssl http2;
          listen [::]:9081 ssl http2;
          server_name REVIEWS;
          ssl_certificate RIGHT.pem;
          ssl_certificate_key RIGHT.key;
          location / { return 200 "whoever reads this was not checked\\n"; }
        }
      }
      """;

  private static World world;
  private static RunningAgent agent;

  @BeforeAll
  static void start() {
    world = World.build();
    Certificates.Leaf right = world.authority.issue(DETAILS);
    Certificates.Leaf own = world.authority.issue("node-1.example");
    Path folder = world.lab.folder("nginx-internal");
    Path configuration =
        World.write(
            folder.resolve("nginx.conf"),
            NGINX
                .replace("FOLDER", folder.toString())
                .replace("AUTHORITY", world.authority.authority().toString())
                .replace("RIGHT.pem", right.certificate().toString())
                .replace("RIGHT.key", right.key().toString())
                .replace("DETAILS", DETAILS)
                .replace("REVIEWS", REVIEWS));
    Running nginx =
        world.lab.start(
            world.web,
            "nginx-internal",
            Map.of(),
            List.of(
                "nginx", "-p", folder.toString(), "-e", "stderr", "-c", configuration.toString()));
    nginx.awaitTcp(9080, Duration.ofSeconds(10));
    Path policies =
        world.policies(
            POLICIES
                .replace("CLIENT.pem", own.certificate().toString())
                .replace("CLIENT.key", own.key().toString())
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

  private static Result curl(String host, String path) {
    return curl(host, 9080, path, "--http1.1");
  }

  private static Result curl(String host, int port, String path, String protocol) {
    return world.curl(
        world.ratings,
        "http://" + host + ":" + port + path,
        protocol,
        "--resolve",
        host + ":" + port + ":" + World.DECOY);
  }

  @Test
  void plaintextBecomesMutualTlsWithTheRequestedNameAsServerName() {
    Result curl = curl(DETAILS, "/details/0");
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout())
        .contains("host=" + DETAILS + ":9080")
        .contains("sni=" + DETAILS)
        .contains("client=CN=leaf")
        .contains("uri=/details/0")
        .endsWith("200\n");
    assertThat(agent.page("15000/clusters").stdout())
        .contains("outbound|9080||*.svc.cluster.local::")
        .containsPattern("outbound\\|9080\\|\\|\\*\\.svc\\.cluster\\.local::.*::rq_success::1\\n");
  }

  @Test
  void aServerWhoseCertificateDoesNotCarryTheRequestedNameIsRefused() {
    Result curl = curl(REVIEWS, "/reviews/0");
    assertThat(curl.stdout()).doesNotContain("not checked").endsWith("503\n");
    assertThat(agent.awaitAccess(REVIEWS, "connect_failed"))
        .contains("the server's certificate carries " + DETAILS + ", but not " + REVIEWS);
  }

  @Test
  void aGrpcPortIsSpokenToInHttp2WhereTheServerAgreesToIt() {
    Result curl = curl(DETAILS, 9081, "/details.Details/Get", "--http2-prior-knowledge");
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout())
        .contains("host=" + DETAILS + ":9081")
        .contains("sni=" + DETAILS)
        .contains("protocol=HTTP/2.0 uri=/details.Details/Get")
        .endsWith("200\n");
  }

  @Test
  void aServerThatDoesNotOfferHttp2GetsHttp1() {
    Result curl = curl(DETAILS, 9082, "/details.Details/Old", "--http2-prior-knowledge");
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout())
        .contains("protocol=HTTP/1.1 uri=/details.Details/Old")
        .endsWith("200\n");
  }

  @Test
  void overHttp2TooAServerWhoseCertificateDoesNotCarryTheRequestedNameIsRefused() {
    Result curl = curl(REVIEWS, 9081, "/reviews.Reviews/Get", "--http2-prior-knowledge");
    assertThat(curl.stdout()).doesNotContain("not checked").endsWith("503\n");
    assertThat(agent.awaitAccess("path=\"/reviews.Reviews/Get\"", "connect_failed"))
        .contains("the server's certificate carries " + DETAILS + ", but not " + REVIEWS);
  }
}
