package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/// The main job as the pods see it, under REGISTRY_ONLY, with the default transport and grade.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
class MainJobTest {
  static final String POLICIES =
      """
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: cnn, namespace: default}
      spec:
        hosts: [edition.cnn.com]
        exportTo: ["."]
        location: MESH_EXTERNAL
        ports: [{number: 443, name: tls, protocol: TLS}]
        resolution: DNS
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: wikipedia, namespace: istio-system}
      spec:
        hosts: ["*.wikipedia.org"]
        location: MESH_EXTERNAL
        ports: [{number: 443, name: tls, protocol: TLS}]
        resolution: DYNAMIC_DNS
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: static, namespace: default}
      spec:
        hosts: [static.example.net]
        location: MESH_EXTERNAL
        ports: [{number: 443, name: tls, protocol: HTTPS}]
        resolution: STATIC
        endpoints: [{address: 198.51.100.21}]
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: as-dialled, namespace: default}
      spec:
        hosts: [as-dialled.example.net]
        location: MESH_EXTERNAL
        ports: [{number: 443, name: tls, protocol: TLS}]
        resolution: NONE
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: mail, namespace: default}
      spec:
        hosts: [mail.example.net]
        addresses: [198.51.100.30]
        location: MESH_EXTERNAL
        ports: [{number: 25, name: tcp, protocol: TCP}]
        resolution: NONE
      """;

  private static World world;
  private static RunningAgent agent;

  @BeforeAll
  static void start() {
    world = World.build();
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

  private static void arrives(Result curl, String site, Place client, boolean six) {
    String address = six ? World.v6(site) : World.v4(site);
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout())
        .contains("host=" + site)
        .contains("server=" + address)
        .contains("client=" + (six ? client.v6() : client.v4()))
        .endsWith("200\n");
  }

  private static void isReset(Result curl) {
    assertThat(curl.exit()).as(curl.stdout() + curl.stderr()).isIn(35, 52, 56);
    assertThat(curl.stderr()).containsIgnoringCase("reset");
  }

  @Test
  void anExactHostIsReachedByNameThoughTheDecoyWasDialled() {
    // Whichever family answers first carries it: the addresses are those of the name.
    Result curl = world.curlViaDecoy(world.ratings, "edition.cnn.com");
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout()).contains("host=edition.cnn.com").endsWith("200\n");
    String line = agent.awaitAccess("sni=\"edition.cnn.com\"", "connection complete");
    assertThat(line)
        .contains("src.workload=\"ratings-v1\"")
        .contains("src.namespace=\"default\"")
        .contains("original_dst=" + World.DECOY + ":443")
        .contains("cluster=\"outbound|443||edition.cnn.com\"")
        .contains("grade=\"splice\"");
  }

  @Test
  void anAccessLogThatIsMovedAwayGoesOnInANewFile() throws IOException {
    world.curlViaDecoy(world.ratings, "before-rotation.example");
    agent.awaitAccess("sni=\"before-rotation.example\"");
    Path moved = agent.accessLogFile().resolveSibling("access.log.1");

    Files.move(agent.accessLogFile(), moved);
    world.curlViaDecoy(world.ratings, "after-rotation.example");

    agent.awaitAccess("sni=\"after-rotation.example\"");
    assertThat(World.read(moved)).contains("before-rotation").doesNotContain("after-rotation");
    assertThat(agent.accessLog()).doesNotContain("before-rotation");
  }

  @Test
  void aHostUnderAWildcardIsReachedFromBothNamespaces() {
    for (Place pod : List.of(world.ratings, world.reviews)) {
      Result curl = world.curlViaDecoy(pod, "de.wikipedia.org");
      assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
      assertThat(curl.stdout())
          .contains("host=de.wikipedia.org")
          .containsPattern("server=(198.51.100.11|2001:db8::11) ")
          .endsWith("200\n");
      // The upstream sees the pod itself.
      assertThat(pod.addresses())
          .contains(curl.stdout().replaceFirst("(?s).*client=(\\S+).*", "$1"));
    }
  }

  @Test
  void aClientThatDialsIpv6IsReachedByNameToo() {
    Result curl = world.curlVia(world.ratings, "en.wikipedia.org", World.DECOY_6);
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout()).contains("host=en.wikipedia.org").endsWith("200\n");
    agent.awaitAccess("sni=\"en.wikipedia.org\"", "original_dst=[" + World.DECOY_6 + "]:443");
  }

  @Test
  void aStaticEntryIsDialledAtItsEndpoint() {
    arrives(
        world.curlViaDecoy(world.ratings, "static.example.net"),
        "static.example.net",
        world.ratings,
        false);
  }

  @Test
  void anEntryWithoutResolutionGoesWhereTheClientDialled() {
    String site = "as-dialled.example.net";
    arrives(world.curlVia(world.ratings, site, World.v4(site)), site, world.ratings, false);
    arrives(world.curlVia(world.ratings, site, World.v6(site)), site, world.ratings, true);
    Result decoy = world.curlViaDecoy(world.ratings, site);
    assertThat(decoy.ok()).isFalse();
    agent.awaitAccess("sni=\"" + site + "\"", "reason=\"connect_failed\"");
  }

  @Test
  void anEntryWithoutResolutionStillNeverLeadsToTheMetadataAddress() {
    String site = "as-dialled.example.net";
    isReset(world.curlVia(world.ratings, site, "169.254.169.254"));
    assertThat(agent.awaitAccess("original_dst=169.254.169.254:443"))
        .contains("reason=\"address_filtered\"");
  }

  @Test
  void theCaseOfTheServerNameDoesNotMatter() {
    Result shout =
        world.lab.exec(
            world.ratings,
            "sh",
            "-c",
            "echo Q | timeout 10 openssl s_client -connect "
                + World.DECOY
                + ":443 -servername EN.Wikipedia.ORG -CAfile "
                + world.authority.authority()
                + " -verify_return_error -verify_hostname en.wikipedia.org");
    assertThat(shout.ok()).as(shout.stdout() + shout.stderr()).isTrue();
    assertThat(shout.stdout()).contains("Verify return code: 0 (ok)");
  }

  @Test
  void anUnknownNameIsResetAndRecordedWithPodNameAndReason() {
    isReset(world.curlVia(world.ratings, "example.org", World.v4("example.org")));
    assertThat(agent.awaitAccess("sni=\"example.org\""))
        .contains("\twarn\taccess\tconnection failed\t")
        .contains("src.workload=\"ratings-v1\"")
        .contains("cluster=\"BlackHoleCluster\"")
        .contains("mode=\"enforce\"")
        .contains("reason=\"connection_closed\"");
    assertThat(world.upstream.accessLog()).doesNotContain("example.org");
  }

  @Test
  void anEntryExportedToItsOwnNamespaceIsUnknownElsewhere() {
    isReset(world.curlViaDecoy(world.reviews, "edition.cnn.com"));
    assertThat(agent.awaitAccess("sni=\"edition.cnn.com\"", "src.namespace=\"other\""))
        .contains("reason=\"connection_closed\"");
  }

  @Test
  void theParentOfAWildcardIsNotUnderIt() {
    isReset(world.curlViaDecoy(world.ratings, "wikipedia.org"));
    agent.awaitAccess("sni=\"wikipedia.org\"", "reason=\"connection_closed\"");
  }

  @Test
  void helloWithoutAServerNameIsRefused() {
    Result bare =
        world.lab.exec(
            world.ratings,
            "sh",
            "-c",
            "echo Q | timeout 10 openssl s_client -noservername -connect " + World.DECOY + ":443");
    assertThat(bare.ok()).isFalse();
    assertThat(agent.awaitAccess("reason=\"no_sni\"")).contains("src.workload=\"ratings-v1\"");
  }

  @Test
  void plainHttpToATlsPortIsRefused() {
    Result curl =
        world.curl(
            world.ratings,
            "http://en.wikipedia.org:443/",
            "--resolve",
            "en.wikipedia.org:443:" + World.v4("en.wikipedia.org"));
    assertThat(curl.ok()).isFalse();
    assertThat(agent.awaitAccess("host=\"en.wikipedia.org\"")).contains("reason=");
    assertThat(world.upstream.accessLog()).doesNotContain("\"GET / HTTP/1.1\" 400");
  }

  @Test
  void garbageOnATlsPortIsRefused() {
    Result sent =
        world.lab.exec(
            world.ratings,
            "timeout",
            "8",
            "bash",
            "-c",
            "exec 3<>/dev/tcp/"
                + World.DECOY
                + "/443 && printf '\\026\\003\\001\\000\\005\\377\\377\\377\\377\\377' >&3 && head"
                + " -c 1 <&3");
    assertThat(sent.stdout()).isEmpty();
    agent.awaitAccess("reason=\"malformed_hello\"", "src.workload=\"ratings-v1\"");
  }

  @Test
  void aServerThatSpeaksFirstIsHeardAtOnceThroughATcpEntry() {
    try (TcpServer mail = TcpServer.start(world.lab, world.web, Map.of(25, Behaviour.BANNER))) {
      assertThat(mail.process().isAlive()).isTrue();
      Result greeting = world.greet(world.ratings, World.v4("example.org"), 25);
      assertThat(greeting.stdout()).as(agent.log()).contains("220 lab ready");
      // The same port elsewhere is nobody's.
      Result elsewhere = world.greet(world.ratings, World.v4("edition.cnn.com"), 25);
      assertThat(elsewhere.stdout()).doesNotContain("220 lab ready");
      agent.awaitAccess(
          "original_dst=" + World.v4("edition.cnn.com") + ":25", "reason=\"connection_closed\"");
    }
  }

  @Test
  void udp443IsRefusedSoThatClientsFallBackToTcp() {
    // A connected UDP socket learns of the refusal.
    Result udp =
        world.lab.exec(
            world.ratings,
            "timeout",
            "8",
            "bash",
            "-c",
            "exec 3<>/dev/udp/"
                + World.v4("en.wikipedia.org")
                + "/443 && echo one >&3 && sleep 0.2 && echo two >&3 && head -c 1 <&3");
    assertThat(udp.ok()).isFalse();
    assertThat(udp.stderr()).containsAnyOf("refused", "not permitted", "unreachable", "prohibited");
  }

  @Test
  void theCapturePortDialledDirectlyIsRefused() {
    Result direct = world.curl(world.ratings, "https://" + world.ratings.v4() + ":15001/", "-k");
    assertThat(direct.ok()).isFalse();
    agent.awaitAccess("reason=\"direct_hit\"");
  }

  @Test
  void loopbackInThePodIsLeftAlone() {
    try (TcpServer local =
        TcpServer.start(world.lab, world.ratings, Map.of(8080, Behaviour.BANNER))) {
      assertThat(local.process().isAlive()).isTrue();
      assertThat(world.greet(world.ratings, "127.0.0.1", 8080).stdout()).contains("220 lab ready");
      assertThat(world.greet(world.ratings, world.ratings.v4(), 8080).stdout())
          .contains("220 lab ready");
    }
  }

  @Test
  void theNodeAsksItsOwnDnsServerAndNothingElse() {
    world.curlViaDecoy(world.ratings, "en.wikipedia.org");
    assertThat(world.dns.queries())
        .isNotEmpty()
        .allMatch(query -> !world.ratings.addresses().contains(query.from()))
        .anyMatch(query -> query.name().equals("en.wikipedia.org"));
  }
}
