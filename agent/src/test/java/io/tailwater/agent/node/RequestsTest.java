package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/// Plaintext HTTP by Host as the pods see it: a wildcard for every internal service, with real curl
/// and nginx, under REGISTRY_ONLY.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
class RequestsTest {
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
        resolution: DYNAMIC_DNS
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: shop, namespace: istio-system}
      spec:
        hosts: [shop.example.com]
        ports: [{number: 9080, name: http, protocol: HTTP}]
        resolution: DNS
      ---
      apiVersion: networking.istio.io/v1
      kind: VirtualService
      metadata: {name: shop, namespace: istio-system}
      spec:
        hosts: [shop.example.com]
        http: [{match: [{uri: {prefix: /cart}}], route: [{destination: {host: shop.example.com}}]}]
      """;

  private static World world;
  private static RunningAgent agent;

  @BeforeAll
  static void start() {
    world = World.build();
    world.startPlainHttp();
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

  private static Result curl(String url, String... more) {
    String[] options = new String[more.length + 4];
    options[0] = "--resolve";
    options[1] = DETAILS + ":9080:" + World.DECOY;
    options[2] = "--resolve";
    options[3] = DETAILS + ":9081:" + World.DECOY;
    System.arraycopy(more, 0, options, 4, more.length);
    return world.curl(world.ratings, url, options);
  }

  @Test
  void aWildcardReachesAnInternalServiceByItsHostAndCountsItsRequests() {
    Result curl = curl("http://" + DETAILS + ":9080/details/0");
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout())
        .contains("host=" + DETAILS + " protocol=HTTP/1.1 uri=/details/0 ")
        .endsWith("200\n");
    assertThat(world.ratings.addresses())
        .contains(curl.stdout().replaceFirst("(?s).*client=(\\S+).*", "$1"));
    assertThat(agent.awaitAccess("request complete", "path=\"/details/0\""))
        .contains("host=\"" + DETAILS + "\"")
        .contains("method=\"GET\"")
        .contains("protocol=\"HTTP/1.1\"")
        .contains("response_code=200")
        .contains("cluster=\"outbound|9080||*.svc.cluster.local\"")
        .contains("original_dst=" + World.DECOY + ":9080")
        .contains("grade=\"copy\"");
    String clusters = agent.page("15000/clusters").stdout();
    assertThat(clusters)
        .containsPattern(
            "outbound\\|9080\\|\\|\\*\\.svc\\.cluster\\.local::\\S+:9080::rq_success::[1-9]")
        .containsPattern(
            "outbound\\|9080\\|\\|\\*\\.svc\\.cluster\\.local::\\S+:9080::rq_total::[1-9]")
        .contains(":9080::hostname::" + DETAILS);
  }

  @Test
  void eachRequestOfOneConnectionGoesToItsOwnHost() {
    Result curl =
        curl(
            "http://" + DETAILS + ":9080/three",
            "http://" + DETAILS + ":9080/one",
            "--next",
            "-sS",
            "-m",
            "10",
            "-w",
            "connects=%{num_connects}\\n",
            "--resolve",
            DETAILS + ":9080:" + World.DECOY,
            "-H",
            "Host: " + REVIEWS + ":9080",
            "http://" + DETAILS + ":9080/two",
            "--next",
            "-sS",
            "-m",
            "10",
            "-w",
            "connects=%{num_connects} status=%{http_code}\\n",
            "--resolve",
            DETAILS + ":9080:" + World.DECOY,
            "-H",
            "Host: example.org");
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout())
        .contains("host=" + REVIEWS + " protocol=HTTP/1.1 uri=/two ")
        .contains("connects=0 status=502\n");
  }

  @Test
  void anUnknownHostIsAnswered502AndIsADenialWithTheYamlThatWouldAllowIt() {
    Result curl = curl("http://" + DETAILS + ":9080/", "-H", "Host: unknown.example.com");
    assertThat(curl.exit()).as(curl.stderr()).isZero();
    assertThat(curl.stdout()).endsWith("502\n");
    assertThat(agent.awaitAccess("request failed", "host=\"unknown.example.com\""))
        .contains("reason=\"http_502\"")
        .contains("response_code=502");
    String denials = agent.page("15000/denials").stdout();
    assertThat(denials)
        .contains("ratings-v1")
        .contains("unknown.example.com")
        .contains("http_502")
        .contains("kind: ServiceEntry");
  }

  @Test
  void aRequestThatNoRouteOfAKnownHostTakesIsAnswered404() {
    Result curl =
        curl(
            "http://shop.example.com:9080/help",
            "--resolve",
            "shop.example.com:9080:" + World.DECOY);
    assertThat(curl.stdout())
        .isEqualTo("none of the routes of this Host takes the request (http_502)\n404\n");
    assertThat(agent.awaitAccess("path=\"/help\"", "http_502"))
        .contains("none of the http routes of VirtualService/istio-system/shop takes it");
    assertThat(agent.page("15000/denials").stdout())
        .contains("the Host is allowed; give VirtualService/istio-system/shop a route");
  }

  @Test
  void http2WithPriorKnowledgeIsRoutedByItsAuthorityAndStaysHttp2OnAGrpcPort() {
    Result curl =
        curl("http://" + DETAILS + ":9081/details.Details/Get", "--http2-prior-knowledge");
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout())
        .contains("host=" + DETAILS + " protocol=HTTP/2.0 uri=/details.Details/Get ")
        .endsWith("200\n");
    assertThat(agent.awaitAccess("request complete", "path=\"/details.Details/Get\""))
        .contains("protocol=\"HTTP/2\"")
        .contains("cluster=\"outbound|9081||*.svc.cluster.local\"");
  }

  @Test
  void whatIsNoProperRequestIsAnswered400() {
    Result sent =
        world.lab.exec(
            world.ratings,
            "timeout",
            "8",
            "bash",
            "-c",
            "exec 3<>/dev/tcp/"
                + World.DECOY
                + "/9080; printf 'POST / HTTP/1.1\\r\\nHost: "
                + DETAILS
                + ":9080\\r\\nContent-Length: 4\\r\\nTransfer-Encoding:"
                + " chunked\\r\\n\\r\\n0\\r\\n\\r\\n' >&3; cat <&3");
    assertThat(sent.stdout()).startsWith("HTTP/1.1 400 Bad Request");
  }
}
