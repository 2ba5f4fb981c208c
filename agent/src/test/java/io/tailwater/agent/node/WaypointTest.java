package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/// Hosts with the label `istio.io/use-waypoint`. The agent speaks no HBONE yet, so what belongs to
/// a waypoint goes nowhere, though unknown destinations pass: ALLOW_ANY is no way around it.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
class WaypointTest {
  private static final String POLICIES =
      """
      apiVersion: gateway.networking.k8s.io/v1
      kind: Gateway
      metadata: {name: egress, namespace: istio-egress}
      spec:
        gatewayClassName: istio-waypoint
        listeners:
          - {name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: All}}}
      status: {addresses: [{type: IPAddress, value: "203.0.113.15"}]}
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata:
        name: wikipedia
        namespace: istio-system
        labels: {istio.io/use-waypoint: egress, istio.io/use-waypoint-namespace: istio-egress}
      spec:
        hosts: ["*.wikipedia.org"]
        location: MESH_EXTERNAL
        ports:
          - {number: 443, name: tls, protocol: TLS}
          - {number: 80, name: http, protocol: HTTP}
        resolution: DYNAMIC_DNS
      status: {addresses: [{value: "240.240.0.2", host: "*.wikipedia.org"}]}
      ---
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata: {name: cnn, namespace: default}
      spec:
        hosts: [edition.cnn.com]
        location: MESH_EXTERNAL
        ports: [{number: 443, name: tls, protocol: TLS}]
        resolution: DNS
      """;

  private static World world;
  private static RunningAgent agent;

  @BeforeAll
  static void start() {
    world = World.build();
    agent =
        RunningAgent.start(
            world,
            world.configuration(
                world.policies(POLICIES), "mesh: {outboundTrafficPolicy: {mode: ALLOW_ANY}}\n"));
  }

  @AfterAll
  static void stop() {
    if (world != null) {
      world.close();
    }
  }

  private static void isNotSentInTheClear(String destination) {
    assertThat(agent.awaitAccess("original_dst=" + destination, "not_supported_yet"))
        .contains("istio-egress/egress");
    assertThat(world.upstream.accessLog()).doesNotContain("wikipedia.org");
  }

  @Test
  void aNameThatBelongsToAWaypointIsRefusedWhateverAddressWasDialled() {
    String site = "en.wikipedia.org";
    for (String address : new String[] {World.v4(site), "240.240.0.2", World.DECOY}) {
      Result curl = world.curlVia(world.ratings, site, address);
      // 7: an address of the host decides before a byte is read, and the reset can meet curl while
      // it still connects.
      assertThat(curl.exit()).as(curl.stdout() + curl.stderr()).isIn(7, 35, 52, 56);
      isNotSentInTheClear(address + ":443");
    }
  }

  @Test
  void plaintextHttpForAWaypointIsRefusedToo() {
    String site = "de.wikipedia.org";
    Result curl =
        world.curl(
            world.ratings, "http://" + site + "/", "--resolve", site + ":80:" + World.v4(site));
    assertThat(curl.stdout()).doesNotContain("host=").doesNotContain("200");
    isNotSentInTheClear(World.v4(site) + ":80");
  }

  @Test
  void whatHasNoWaypointGoesOn() {
    Result curl = world.curlViaDecoy(world.ratings, "edition.cnn.com");
    assertThat(curl.exit()).as("%s\n%s", curl.stderr(), agent.log()).isZero();
    assertThat(curl.stdout()).contains("host=edition.cnn.com").endsWith("200\n");
  }

  @Test
  void explainNamesTheWaypoint() {
    String answer =
        agent
            .page("15000/explain?from=default/ratings-v1&to=en.wikipedia.org:443&format=text")
            .stdout();
    assertThat(answer)
        .containsPattern("waypoint +istio-egress/egress")
        .contains("ServiceEntry/istio-system/wikipedia");
  }
}
