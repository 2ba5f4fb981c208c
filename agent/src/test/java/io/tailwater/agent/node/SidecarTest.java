package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/// A Sidecar that limits egress to the root namespace while the wildcard there still reaches every
/// internal service, by SNI and by Host; what is said of the rest; and Services by their VIPs for a
/// pod that has no Sidecar. Under REGISTRY_ONLY.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
class SidecarTest {
  /// A VIP: nobody listens there, and nothing but the agent knows who is meant.
  private static final String VIP = "203.0.113.40";

  private static final String POLICIES =
      """
      apiVersion: networking.istio.io/v1
      kind: Sidecar
      metadata: {name: limited, namespace: default}
      spec: {egress: [{hosts: ["istio-system/*"]}]}
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: internal, namespace: istio-system}
      spec:
        hosts: ["*.svc.cluster.local"]
        location: MESH_INTERNAL
        ports:
          - {number: 443, name: tls, protocol: TLS}
          - {number: 9080, name: http, protocol: HTTP}
        resolution: DYNAMIC_DNS
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: cnn, namespace: default}
      spec:
        hosts: [edition.cnn.com]
        ports: [{number: 443, name: tls, protocol: TLS}]
        resolution: DNS
      ---
      apiVersion: v1
      kind: Service
      metadata: {name: details, namespace: default}
      spec:
        clusterIP: 203.0.113.40
        ports: [{name: https, port: 443}]
        selector: {app: details}
      ---
      apiVersion: discovery.k8s.io/v1
      kind: EndpointSlice
      metadata: {name: details-1, namespace: default, labels: {kubernetes.io/service-name: details}}
      addressType: IPv4
      endpoints: [{addresses: [198.51.100.10]}]
      ports: [{name: https, port: 443}]
      """;

  private static World world;
  private static RunningAgent agent;

  @BeforeAll
  static void start() {
    world = World.build();
    world.startPlainHttp();
    Path policies = world.policies(POLICIES);
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

  private static void arrives(Result curl, String site) {
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout()).contains("host=" + site).endsWith("200\n");
  }

  private static void isReset(Result curl) {
    assertThat(curl.exit()).as(curl.stdout() + curl.stderr()).isIn(35, 52, 56);
    assertThat(curl.stderr()).containsIgnoringCase("reset");
  }

  @Test
  void theWildcardReachesEveryInternalServiceAndHiddenVipsAreAddressesLikeAnyOther() {
    for (String site :
        List.of("details.default.svc.cluster.local", "reviews.other.svc.cluster.local")) {
      arrives(world.curlVia(world.ratings, site, VIP), site);
      assertThat(agent.awaitAccess("sni=\"" + site + "\"", "connection complete"))
          .contains("cluster=\"outbound|443||*.svc.cluster.local\"");
    }
  }

  private static Result plain(String host, String... more) {
    String[] options = Arrays.copyOf(more, more.length + 2);
    options[more.length] = "--resolve";
    options[more.length + 1] = host + ":9080:" + VIP;
    return world.curl(world.ratings, "http://" + host + ":9080/details/0", options);
  }

  @Test
  void theWildcardReachesEveryInternalServiceByItsHostOverPlaintextHttp() {
    for (String site :
        List.of("details.default.svc.cluster.local", "reviews.other.svc.cluster.local")) {
      Result curl = plain(site);
      assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
      assertThat(curl.stdout())
          .contains("host=" + site + " protocol=HTTP/1.1 uri=/details/0 ")
          .endsWith("200\n");
      assertThat(agent.awaitAccess("host=\"" + site + "\"", "request complete"))
          .contains("cluster=\"outbound|9080||*.svc.cluster.local\"");
    }
  }

  @Test
  void aHostThatTheSidecarDoesNotImportIsAnswered502() {
    for (String host : List.of("edition.cnn.com", "svc.cluster.local", "example.org")) {
      Result curl = plain("details.default.svc.cluster.local", "-H", "Host: " + host);
      assertThat(curl.exit()).as(curl.stderr()).isZero();
      assertThat(curl.stdout()).endsWith("502\n");
      assertThat(agent.awaitAccess("host=\"" + host + "\"", "request failed"))
          .contains("reason=\"http_502\"");
    }
  }

  @Test
  void theDenialsSuggestWhatExplainSuggests() {
    isReset(world.curlViaDecoy(world.ratings, "edition.cnn.com"));
    isReset(world.curlViaDecoy(world.ratings, "example.org"));
    plain("static.example.net");
    agent.awaitAccess("sni=\"edition.cnn.com\"", "connection_closed");
    agent.awaitAccess("sni=\"example.org\"", "connection_closed");
    agent.awaitAccess("host=\"static.example.net\"", "http_502");
    String denials = agent.page("15000/denials?format=json").stdout();
    for (String to : List.of("edition.cnn.com:443", "example.org:443", "static.example.net:9080")) {
      String explained =
          agent.page("15000/explain?from=default/ratings-v1&format=json&to=" + to).stdout();
      assertThat(explained).contains("# add to Sidecar/default/limited");
      String suggestion =
          explained.lines().filter(l -> l.contains("\"suggestion\"")).toList().getFirst();
      assertThat(denials).contains(suggestion.substring(suggestion.indexOf(" : ") + 3));
    }
    assertThat(agent.page("15000/denials").stdout())
        .contains("- \"./edition.cnn.com\"")
        .contains("- \"./example.org\"")
        .doesNotContain("hosts: [\"edition.cnn.com\"]");
  }

  @Test
  void whatTheSidecarDoesNotImportIsUnknown() {
    isReset(world.curlViaDecoy(world.ratings, "edition.cnn.com"));
    assertThat(agent.awaitAccess("sni=\"edition.cnn.com\"", "connection_closed"))
        .contains("src.workload=\"ratings-v1\"");
  }

  @Test
  void aPodWithoutASidecarReachesTheServiceByItsVipWhateverItSays() {
    arrives(world.curlVia(world.reviews, "en.wikipedia.org", VIP), "en.wikipedia.org");
    assertThat(agent.awaitAccess("src.workload=\"reviews-v1\"", "connection complete"))
        .contains("cluster=\"outbound|443||details.default.svc.cluster.local\"");
    isReset(
        world.curl(
            world.reviews,
            "https://en.wikipedia.org:444/",
            "--resolve",
            "en.wikipedia.org:444:" + VIP));
    assertThat(agent.awaitAccess("original_dst=" + VIP + ":444")).contains("no_healthy_upstream");
  }
}
