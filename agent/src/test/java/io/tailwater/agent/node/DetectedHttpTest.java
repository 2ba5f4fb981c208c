package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/// Ports whose protocol nobody wrote down: what a client speaks there is what its destination
/// hears, with real h2load, nghttp, nghttpd, curl and nginx. Under REGISTRY_ONLY.
@NeedsRoot(
    commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "h2load", "nghttp", "nghttpd"})
class DetectedHttpTest {
  private static final String DETAILS = "details.default.svc.cluster.local";

  /// nghttpd answers on 7070, nginx on 7071, which is for HTTP/1 alone, and on 7072 for HTTP/2.
  private static final String POLICIES =
      """
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: details, namespace: istio-system}
      spec:
        hosts: [details.default.svc.cluster.local]
        location: MESH_INTERNAL
        ports:
          - {number: 7070, name: any}
          - {number: 7071, name: another}
          - {number: 7072, name: http, protocol: HTTP}
        resolution: DNS
      ---
      apiVersion: networking.istio.io/v1
      kind: DestinationRule
      metadata: {name: details, namespace: istio-system}
      spec:
        host: details.default.svc.cluster.local
        trafficPolicy:
          connectionPool: {http: {h2UpgradePolicy: UPGRADE}}
      """;

  private static World world;
  private static RunningAgent agent;

  @BeforeAll
  static void start() {
    world = World.build();
    Path folder = world.lab.folder("detected");
    World.write(folder.resolve("small"), "hello\n");
    World.write(
        folder.resolve("nginx.conf"),
        """
        daemon off; user root; worker_processes 1; pid FOLDER/nginx.pid;
        events { worker_connections 1024; }
        http {
          access_log off; client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy;
          fastcgi_temp_path FOLDER/f; uwsgi_temp_path FOLDER/u; scgi_temp_path FOLDER/s;
          server {
            listen 7071; listen [::]:7071; listen 7072 http2; listen [::]:7072 http2;
            location / { return 200 "protocol=$server_protocol\\n"; }
          }
        }
        """
            .replace("FOLDER", folder.toString()));
    world
        .lab
        .start(
            world.web,
            "nginx-detected",
            Map.of(),
            List.of(
                "nginx",
                "-p",
                folder.toString(),
                "-e",
                "stderr",
                "-c",
                folder.resolve("nginx.conf").toString()))
        .awaitTcp(7072, Duration.ofSeconds(10));
    world
        .lab
        .start(
            world.web,
            "nghttpd",
            Map.of(),
            List.of(
                "nghttpd",
                "--no-tls",
                "-d",
                folder.toString(),
                "--trailer",
                "grpc-status: 0",
                "--trailer",
                "grpc-message: fine",
                "7070"))
        .awaitTcp(7070, Duration.ofSeconds(10));
    agent =
        RunningAgent.start(
            world,
            world.configuration(
                world.policies(POLICIES),
                "mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n"));
  }

  @AfterAll
  static void stop() {
    if (world != null) {
      world.close();
    }
  }

  private static Result curl(int port, String protocol) {
    return world.curl(
        world.ratings,
        "http://" + DETAILS + ":" + port + "/",
        protocol,
        "--resolve",
        DETAILS + ":" + port + ":" + World.DECOY);
  }

  @Test
  void whatSpeaksHttp2StaysHttp2WithItsTrailers() {
    Result asked =
        world.lab.exec(
            world.ratings,
            "nghttp",
            "-v",
            "--timeout=20",
            "-H",
            ":authority: " + DETAILS + ":7070",
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
            "http://" + World.DECOY + ":7070/small");
    assertThat(asked.exit()).as("%s\n%s", asked.stderr(), agent.log()).isZero();
    assertThat(asked.stdout())
        .contains(":status: 200")
        .contains("hello")
        .contains("grpc-status: 0")
        .contains("grpc-message: fine");
    assertThat(agent.awaitAccess("request complete", "path=\"/small\""))
        .contains("protocol=\"HTTP/2\"")
        .contains("cluster=\"outbound|7070||" + DETAILS + "\"");
  }

  @Test
  void manyStreamsOverFewConnectionsAllArrive() {
    Result told =
        world.lab.exec(
            world.ratings,
            "h2load",
            "-n",
            "2000",
            "-c",
            "4",
            "-m",
            "16",
            "--connect-to=" + World.DECOY + ":7070",
            "http://" + DETAILS + ":7070/small?load");
    assertThat(told.stdout())
        .as("%s\n%s", told.stderr(), agent.log())
        .contains("2000 succeeded, 0 failed, 0 errored, 0 timeout")
        .contains("2000 2xx");
  }

  @Test
  void whatSpeaksHttp1StaysHttp1EvenIfARuleUpgradesBecauseThatIsForPortsThatSayHttp() {
    Result curl = curl(7071, "--http1.1");
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout()).isEqualTo("protocol=HTTP/1.1\n200\n");
  }

  @Test
  void aRuleUpgradesRequestsOfAPortThatSaysHttp() {
    Result curl = curl(7072, "--http1.1");
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout()).isEqualTo("protocol=HTTP/2.0\n200\n");
  }
}
