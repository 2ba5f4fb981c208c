package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.DnsServer;
import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.Running;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;

/// Captured DNS as the pods' own programs see it: dig, the C library, curl. The pods ask a server
/// that is not there; dnsmasq is the one that the agent asks.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "dig", "python3"})
@TestInstance(Lifecycle.PER_CLASS)
abstract class DnsScenarios {
  /// Whom the pods ask; nobody is there.
  private static final String NOBODY = "203.0.113.99";

  private static final String NOBODY_6 = "2001:db8:bad::99";

  private static final String MORE_POLICIES =
      """
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: a-orders, namespace: default}
      spec:
        hosts: [orders.db.example]
        ports: [{number: 5432, name: tcp, protocol: TCP}]
        resolution: DNS
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: b-users, namespace: default}
      spec:
        hosts: [users.db.example]
        ports: [{number: 5432, name: tcp, protocol: TCP}]
        resolution: DNS
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: c-given, namespace: default}
      spec:
        hosts: [given.db.example]
        ports: [{number: 5433, name: tcp, protocol: TCP}]
        resolution: DNS
      status: {addresses: [{value: 240.240.7.7, host: given.db.example}]}
      ---
      apiVersion: v1
      kind: Service
      metadata: {name: details, namespace: default}
      spec: {clusterIP: 10.96.0.10, ports: [{port: 9080, name: http}], selector: {app: details}}
      ---
      apiVersion: v1
      kind: Service
      metadata: {name: headless, namespace: other}
      spec: {clusterIP: None, ports: [{port: 9080, name: http}]}
      ---
      apiVersion: discovery.k8s.io/v1
      kind: EndpointSlice
      metadata: {name: headless-1, namespace: other, labels: {kubernetes.io/service-name: headless}}
      addressType: IPv4
      endpoints: [{addresses: [10.1.0.7]}, {addresses: [10.1.0.8]}]
      ports: [{name: http, port: 9080}]
      ---
      apiVersion: v1
      kind: Service
      metadata: {name: alias, namespace: default}
      spec: {type: ExternalName, externalName: edition.cnn.com}
      """;

  private final String configuration;
  private World world;
  private DnsServer server;
  private RunningAgent agent;

  /// @param configuration YAML of top-level keys
  DnsScenarios(String configuration) {
    this.configuration = configuration;
  }

  @BeforeAll
  void start() {
    world = World.build();
    Map<String, List<String>> records = new java.util.TreeMap<>(World.SITES);
    records.put("orders.db.example", List.of("198.51.100.61"));
    records.put("users.db.example", List.of("198.51.100.62"));
    records.put("inside.wikipedia.org", List.of("10.1.2.3"));
    records.put("mixed.wikipedia.org", List.of("10.1.2.3", "198.51.100.10"));
    records.put("only4.example.net", List.of("198.51.100.44"));
    records.put(
        "many.example.net",
        IntStream.rangeClosed(1, 100).mapToObj(i -> "198.51.101." + i).toList());
    Place host = world.lab.addHost("dns-2", "198.51.100.54", "2001:db8::54");
    server =
        DnsServer.start(
            world.lab,
            host,
            Duration.ofSeconds(60),
            records,
            List.of(
                "--txt-record=text.example.net,hello",
                "--srv-host=_sip._tcp.example.net,sip.example.net,5060,1,2",
                "--dns-rr=svc.example.net,65,00010000010003026832",
                "--cname=www.example.net,only4.example.net",
                "--edns-packet-max=4096"));
    for (Place pod : List.of(world.ratings, world.reviews)) {
      world.lab.nameserver(pod, NOBODY);
    }
    for (String name : List.of("orders", "users")) {
      Place db = world.lab.addHost(name, records.get(name + ".db.example").toArray(String[]::new));
      Path folder = world.lab.folder("www-" + name);
      World.write(folder.resolve("index.html"), "this is " + name + "\n");
      Running web =
          world.lab.start(
              db, "python3", "-u", "-m", "http.server", "5432", "--directory", folder.toString());
      web.awaitOutput("Serving HTTP", Duration.ofSeconds(15));
    }
    agent =
        RunningAgent.start(
            world,
            world.configuration(
                world.policies(MainJobTest.POLICIES + MORE_POLICIES),
                """
                mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
                dns: {servers: ["[2001:db8::54]:53"]}
                """
                    + configuration));
  }

  @AfterAll
  void stop() {
    if (world != null) {
      world.close();
    }
  }

  private Result dig(Place pod, String... more) {
    List<String> command = new ArrayList<>(List.of("dig", "@" + NOBODY, "+time=5", "+tries=1"));
    command.addAll(List.of(more));
    return world.lab.exec(pod, command.toArray(String[]::new));
  }

  private List<String> answers(Place pod, String... more) {
    List<String> all = new ArrayList<>(List.of(more));
    all.add("+short");
    Result result = dig(pod, all.toArray(String[]::new));
    assertThat(result.ok()).as(result.toString()).isTrue();
    return result.stdout().lines().sorted().toList();
  }

  private String status(Place pod, String... more) {
    Result result = dig(pod, more);
    assertThat(result.stdout()).as(result.toString()).contains("status: ");
    String after = result.stdout().substring(result.stdout().indexOf("status: ") + 8);
    return after.substring(0, after.indexOf(','));
  }

  private String metrics() {
    return agent.page("15020/metrics").stdout();
  }

  // ---- names that policy knows

  @Test
  void aHostThatBytesNameHasItsRealAddresses() {
    assertThat(answers(world.ratings, "edition.cnn.com", "A"))
        .containsExactly(World.v4("edition.cnn.com"));
    assertThat(answers(world.ratings, "edition.cnn.com", "AAAA"))
        .containsExactly(World.v6("edition.cnn.com"));
    assertThat(answers(world.ratings, "+tcp", "en.wikipedia.org", "A"))
        .containsExactly(World.v4("en.wikipedia.org"));
  }

  @Test
  void theCaseOfTheQuestionIsTheClientsOwn() {
    assertThat(dig(world.ratings, "En.WikiPedia.oRG", "A").stdout())
        .contains("\nEn.WikiPedia.oRG.");
    assertThat(dig(world.ratings, "oNLy4.eXample.net", "A").stdout())
        .contains("\noNLy4.eXample.net.");
  }

  @Test
  void aPrivateAddressIsNotTold() {
    assertThat(answers(world.ratings, "mixed.wikipedia.org", "A")).containsExactly("198.51.100.10");

    Result result = dig(world.ratings, "inside.wikipedia.org", "A");
    assertThat(result.stdout()).contains("status: NOERROR", "ANSWER: 0", "EDE: 17 (Filtered)");
    assertThat(agent.page("15000/denials").stdout())
        .contains("default/ratings-v1 to inside.wikipedia.org", "10.1.2.3", "address_filtered");
  }

  @Test
  void aListedEndpointIsTheRealAddress() {
    assertThat(answers(world.ratings, "static.example.net", "A"))
        .containsExactly(World.v4("static.example.net"));
    assertThat(server.queries()).noneMatch(q -> q.name().contains("static.example.net"));
  }

  @Test
  void twoServicesOnOnePortAreToldApartByName() {
    for (String name : List.of("orders", "users")) {
      for (String family : List.of("-4", "-6")) {
        Result curl = world.curl(world.ratings, "http://" + name + ".db.example:5432/", family);
        assertThat(curl.stdout()).as(curl.toString()).contains("this is " + name);
      }
    }
    assertThat(answers(world.ratings, "orders.db.example", "A")).containsExactly("240.240.0.1");
    assertThat(answers(world.ratings, "users.db.example", "AAAA")).containsExactly("2001:2::2");
    assertThat(agent.awaitAccess("dst.service=\"orders.db.example\""))
        .contains("dns_name=\"orders.db.example\"", "resolved_addr=198.51.100.61:5432");
    assertThat(agent.page("15000/inventory").stdout()).contains("orders.db.example", "5432");
  }

  @Test
  void whatTheControlPlaneWroteWins() {
    assertThat(answers(world.ratings, "given.db.example", "A")).containsExactly("240.240.7.7");
    assertThat(status(world.ratings, "given.db.example", "AAAA")).isEqualTo("NOERROR");
    assertThat(answers(world.ratings, "given.db.example", "AAAA")).isEmpty();
  }

  @Test
  void servicesAreKnownByAllTheirNames() {
    for (String name :
        List.of(
            "details",
            "details.default",
            "details.default.svc",
            "details.default.svc.cluster.local")) {
      assertThat(answers(world.ratings, name, "A")).as(name).containsExactly("10.96.0.10");
    }
    assertThat(status(world.reviews, "details", "A")).isEqualTo("NXDOMAIN");
    assertThat(answers(world.reviews, "headless", "A")).containsExactly("10.1.0.7", "10.1.0.8");
    assertThat(answers(world.ratings, "alias", "A")).containsExactly(World.v4("edition.cnn.com"));
  }

  @Test
  void theCLibraryWalksItsSearchDomains() {
    World.write(
        Path.of("/etc/netns", world.ratings.namespace(), "resolv.conf"),
        "nameserver "
            + NOBODY
            + "\nsearch default.svc.cluster.local svc.cluster.local cluster.local\n"
            + "options ndots:5 timeout:2\n");
    try {
      Result details = world.lab.exec(world.ratings, "getent", "ahostsv4", "details");
      assertThat(details.stdout()).contains("10.96.0.10");
      Result headless = world.lab.exec(world.ratings, "getent", "ahostsv4", "headless.other");
      assertThat(headless.stdout()).contains("10.1.0.7", "10.1.0.8");
      Result outside = world.lab.exec(world.ratings, "getent", "ahosts", "de.wikipedia.org");
      assertThat(outside.stdout())
          .contains(World.v4("de.wikipedia.org"), World.v6("de.wikipedia.org"));
      assertThat(world.curl(world.ratings, "https://de.wikipedia.org/").ok()).isTrue();
    } finally {
      world.lab.nameserver(world.ratings, NOBODY);
    }
  }

  // ---- all other names

  @Test
  void whatPolicyDoesNotKnowIsForwarded() {
    assertThat(answers(world.ratings, "only4.example.net", "A")).containsExactly("198.51.100.44");
    assertThat(status(world.ratings, "only4.example.net", "AAAA")).isEqualTo("NOERROR");
    assertThat(status(world.ratings, "nowhere.example.net", "A")).isEqualTo("NXDOMAIN");
    assertThat(answers(world.ratings, "www.example.net", "A"))
        .containsExactly("198.51.100.44", "only4.example.net.");
  }

  @Test
  void anyTypeIsForwarded() {
    assertThat(answers(world.ratings, "text.example.net", "TXT")).containsExactly("\"hello\"");
    assertThat(answers(world.ratings, "_sip._tcp.example.net", "SRV"))
        .containsExactly("1 2 5060 sip.example.net.");
    assertThat(answers(world.ratings, "svc.example.net", "TYPE65")).hasSize(1);
  }

  @Test
  void aBigAnswerIsCutOffAndAskedForAgainOverTcp() {
    assertThat(answers(world.ratings, "many.example.net", "A", "+noedns")).hasSize(100);
    assertThat(dig(world.ratings, "many.example.net", "A", "+noedns", "+ignore").stdout())
        .contains(" tc");
    assertThat(answers(world.ratings, "many.example.net", "A", "+bufsize=4096", "+ignore"))
        .hasSize(100);
  }

  @Test
  void whoeverIsAskedOverIPv6AnswersToo() {
    Result result =
        world.lab.exec(
            world.ratings,
            "dig",
            "@" + NOBODY_6,
            "+time=5",
            "+tries=1",
            "+short",
            "en.wikipedia.org",
            "A");
    assertThat(result.stdout().strip()).isEqualTo(World.v4("en.wikipedia.org"));
    Result tcp =
        world.lab.exec(
            world.ratings,
            "dig",
            "@" + NOBODY_6,
            "+tcp",
            "+time=5",
            "+tries=1",
            "+short",
            "details",
            "A");
    assertThat(tcp.stdout().strip()).isEqualTo("10.96.0.10");
  }

  @Test
  void onlyTheConfiguredServerIsAskedAndByTheAgentAlone() {
    assertThat(answers(world.ratings, "only4.example.net", "TXT")).isEmpty();

    assertThat(server.queries())
        .isNotEmpty()
        .allMatch(q -> !world.ratings.addresses().contains(q.from()));
  }

  @Test
  void anAnswerIsKeptForItsTime() {
    String name = "kept.example.net";
    server.point(name, "198.51.100.77");
    for (int i = 0; i < 5; i++) {
      assertThat(answers(world.ratings, name, "A", "+nocookie")).containsExactly("198.51.100.77");
    }

    assertThat(server.queries().stream().filter(q -> q.name().equals(name))).hasSize(1);
    assertThat(metrics()).contains("tailwater_dns_answers_total{answer=\"cached\",}");
  }

  @Test
  void aConnectionToANameThatThePodDidNotAskForIsCounted() {
    Result curl = world.curlVia(world.reviews, "en.wikipedia.org", World.v4("de.wikipedia.org"));
    assertThat(curl.ok()).as(curl.toString()).isTrue();

    agent.awaitAccess("sni=\"en.wikipedia.org\"", "dns_mismatch=true");
    assertThat(metrics()).contains("tailwater_dns_mismatches_total{namespace=\"other\",}");
  }

  @Test
  void ztunnelsMetricsCountTheQueries() {
    answers(world.ratings, "text.example.net", "TXT");

    assertThat(metrics())
        .contains(
            "istio_dns_requests_total{request_query_type=\"txt\",request_protocol=\"udp\",source_canonical_service=\"ratings\"",
            "istio_dns_upstream_requests_total{request_query_type=\"txt\"",
            "istio_dns_upstream_request_duration_seconds_bucket{request_query_type=\"txt\"");
    assertThat(agent.log()).contains("DNS: captured, unknown names are forwarded");
  }
}
