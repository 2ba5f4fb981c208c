package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import java.net.ConnectException;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/// What becomes of inbound capture when the agent comes and goes, and when others change rules.
@NeedsRoot
class InboundLifeTest {
  private static final String INBOUND = "capture: {inbound: true}\n";
  private World world;

  @BeforeEach
  void build() {
    world = World.build();
  }

  @AfterEach
  void close() {
    world.close();
  }

  private Path configuration(String more) {
    return world.configuration(
        world.policies(""), "mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n" + more);
  }

  @Test
  void withoutInboundCaptureNothingOfItIsTouched() {
    try (RunningAgent agent = RunningAgent.start(world, configuration(""));
        PodServer server = PodServer.listen(world.ratings, 8080);
        PodSocket client = PodSocket.connect(world.web, world.ratings.v4(), 8080);
        PodServer.Session session = server.accept()) {
      // To the port: the very same connection.
      assertThat(session.client()).isEqualTo(client.localAddress());
      assertThat(tracesInPod()).doesNotContain("15006");
      assertThat(rules(world.lab.node())).doesNotContain("TAILWATER");
      assertThat(agent.accessLines("inbound").toList()).isEmpty();
    }
  }

  @Test
  void anAgentThatComesBackServesAgain() {
    Path configuration = configuration(INBOUND);
    try (PodServer server = PodServer.listen(world.ratings, 8080)) {
      RunningAgent first = RunningAgent.start(world, configuration);
      reach(server);
      first.stop();
      // Closed: nobody listens at the capture port.
      assertThatThrownBy(() -> PodSocket.connect(world.web, world.ratings.v4(), 8080))
          .hasRootCauseInstanceOf(ConnectException.class);
      probe(server);

      try (RunningAgent second = RunningAgent.start(world, configuration)) {
        reach(server);
        probe(server);
        assertThat(second.log()).doesNotContain("error");
      }
    }
  }

  @Test
  void aNewAgentTakesOverAndWhatIsOpenStays() {
    Path configuration = configuration(INBOUND);
    try (RunningAgent first = RunningAgent.start(world, configuration);
        PodServer server = PodServer.listen(world.ratings, 8080);
        PodSocket client = PodSocket.connect(world.web, world.ratings.v4(), 8080);
        PodServer.Session session = server.accept();
        RunningAgent second = RunningAgent.start(world, configuration)) {
      reach(server);
      probe(server);
      session.send("still here\n");
      assertThat(client.readLine(Duration.ofSeconds(10))).isEqualTo("still here");
      assertThat(first.process().isAlive()).isTrue();
      assertThat(second.process().isAlive()).isTrue();
    }
  }

  @Test
  void rulesOfTheNodeThatSomebodyFlushesComeBack() {
    try (RunningAgent agent = RunningAgent.start(world, configuration(INBOUND));
        PodServer server = PodServer.listen(world.ratings, 8080)) {
      probe(server);
      world.lab.exec(world.lab.node(), "iptables", "-t", "nat", "-F");
      assertThat(rules(world.lab.node())).doesNotContain("-d " + world.ratings.v4());
      World.await(
          () -> "the node's rules; there are\n" + rules(world.lab.node()),
          () -> rules(world.lab.node()).contains("-d " + world.ratings.v4()));
      probe(server);
      World.await(agent::log, () -> agent.log().contains("the node's rules for probes"));
    }
  }

  @Test
  void anAgentThatIsUninstalledLeavesNothing() {
    Path configuration = configuration(INBOUND);
    try (RunningAgent agent = RunningAgent.start(world, configuration);
        PodServer server = PodServer.listen(world.ratings, 8080)) {
      assertThat(tracesInPod()).contains("15006").contains("7a110111");
      assertThat(RunningAgent.once(world, "drain", "--uninstall").exit()).isZero();
      World.await(
          () -> "no trace is left; there are\n" + tracesInPod(),
          () -> !tracesInPod().contains("15006") && !tracesInPod().contains("TAILWATER"));
      assertThat(rules(world.lab.node())).doesNotContain("TAILWATER");
      assertThat(agent.process().isAlive()).isTrue();
      try (PodSocket client = PodSocket.connect(world.web, world.ratings.v4(), 8080);
          PodServer.Session session = server.accept()) {
        assertThat(session.client()).isEqualTo(client.localAddress());
      }
    }
  }

  @Test
  void anAgentThatCapturesInboundNoMoreTakesItsTracesAway() {
    Path configuration = configuration(INBOUND);
    RunningAgent.start(world, configuration).stop();
    World.write(configuration, World.read(configuration).replace(INBOUND, ""));
    try (RunningAgent second = RunningAgent.start(world, configuration)) {
      assertThat(second.process().isAlive()).isTrue();
      assertThat(tracesInPod()).doesNotContain("15006");
      assertThat(rules(world.lab.node())).doesNotContain("TAILWATER");
    }
  }

  @Test
  void aPodReachesItselfByTheAddressOfItsService() {
    // As kube-proxy does it: translated, and masqueraded where it goes back to whom it came from.
    String service = "10.96.0.10";
    for (String rule :
        new String[] {
          "PREROUTING -d " + service + " -p tcp -j DNAT --to " + world.ratings.v4() + ":8080",
          "POSTROUTING -s " + world.ratings.v4() + " -d " + world.ratings.v4() + " -j MASQUERADE"
        }) {
      assertThat(world.lab.exec(world.lab.node(), ("iptables -t nat -A " + rule).split(" ")).exit())
          .isZero();
    }
    Path configuration = world.configuration(world.policies(""), INBOUND); // ALLOW_ANY
    try (RunningAgent agent = RunningAgent.start(world, configuration);
        PodServer server = PodServer.listen(world.ratings, 8080);
        PodSocket client = PodSocket.connect(world.ratings, service, 8080)) {
      client.send("to myself\n").shutdownOutput();
      try (PodServer.Session session = server.accept()) {
        assertThat(session.readAll()).isEqualTo("to myself\n");
      }
      agent.awaitAccess("direction=\"inbound\"", world.ratings.v4() + ":8080");
    }
  }

  private void reach(PodServer server) {
    try (PodSocket client = PodSocket.connect(world.web, world.ratings.v4(), 8080);
        PodServer.Session session = server.accept()) {
      assertThat(session.client().getAddress()).isEqualTo(client.localAddress().getAddress());
    }
  }

  private void probe(PodServer server) {
    try (PodSocket kubelet = PodSocket.connect(world.lab.node(), world.ratings.v4(), 8080);
        PodServer.Session session = server.accept()) {
      assertThat(session.client().getAddress().getHostAddress()).isEqualTo("169.254.7.127");
      session.send("ok\n");
      assertThat(kubelet.readLine(Duration.ofSeconds(10))).isEqualTo("ok");
    }
  }

  private String rules(Place place) {
    return shell(place, "iptables-save; ip6tables-save");
  }

  /// Rules, policy routes and routing tables.
  private String tracesInPod() {
    return shell(
        world.ratings,
        "iptables-save; ip6tables-save; ip rule; ip -6 rule; ip route show table all;"
            + " ip -6 route show table all");
  }

  private String shell(Place place, String command) {
    return world.lab.exec(place, "sh", "-c", command).stdout();
  }
}
