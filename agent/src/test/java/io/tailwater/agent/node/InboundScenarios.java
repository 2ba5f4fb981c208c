package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.agent.node.PodSocket.End;
import io.tailwater.iptables.netns.NetworkNamespace;
import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Place;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Inbound capture: connections to pods go through the agent, and the pods' servers do not notice.
/// With every backend and both transports.
@NeedsRoot
@TestInstance(Lifecycle.PER_CLASS)
abstract class InboundScenarios {
  private static final Duration SOON = Duration.ofSeconds(10);
  private final String backend;
  private final String transport;
  private World world;
  private RunningAgent agent;

  InboundScenarios(String backend, String transport) {
    this.backend = backend;
    this.transport = transport;
  }

  @BeforeAll
  void start() {
    world = World.build();
    agent =
        RunningAgent.start(
            world,
            configuration(
                "capture: {inbound: true, backend: %s}\ntransport: %s\n"
                    .formatted(backend, transport)));
  }

  @AfterAll
  void stop() {
    if (agent != null) {
      agent.close();
    }
    world.close();
  }

  private Path configuration(String more) {
    return world.configuration(
        world.policies(""), "mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}\n" + more);
  }

  private static String address(Place place, boolean six) {
    return six ? place.v6() : place.v4();
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aServerInThePodSeesTheClientsOwnAddress(boolean six) {
    String pod = address(world.ratings, six);
    try (PodServer server = PodServer.listen(world.ratings, 8080);
        PodSocket client = PodSocket.connect(world.web, pod, 8080);
        PodServer.Session session = server.accept()) {
      assertThat(session.client().getAddress()).isEqualTo(client.localAddress().getAddress());
      session.send("welcome\n"); // a server that speaks first
      assertThat(client.readLine(SOON)).isEqualTo("welcome");
      assertThat(agent.page("15000/connections").stdout())
          .containsPattern("default/ratings-v1 +inbound +.*" + java.util.regex.Pattern.quote(pod));
      client.send("a question\n").shutdownOutput();
      assertThat(session.readAll()).isEqualTo("a question\n");
      session.send("an answer after the client's end\n");
      assertThat(client.readLine(SOON)).isEqualTo("an answer after the client's end");
      session.shutdownOutput();
      assertThat(client.end(SOON)).isEqualTo(End.CLOSED);

      agent.awaitAccess(
          "info\taccess\tconnection complete",
          ":" + client.localAddress().getPort() + " dst.addr=",
          "dst.workload=\"ratings-v1\"",
          "direction=\"inbound\"",
          "bytes_sent=11",
          "bytes_recv=41",
          transport.equals("epoll") ? "grade=\"splice\"" : "grade=\"copy\"");
    }
    assertThat(agent.page("15020/metrics").stdout())
        .containsPattern(
            "istio_tcp_connections_opened_total\\{reporter=\"destination\",source_workload=\"unknown\""
                + ".*destination_workload=\"ratings-v1\"");
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aClientsPortAndTheAgentsMayBeTheSame(boolean six) {
    String file = "/proc/sys/net/ipv4/ip_local_port_range";
    String usual = world.lab.exec(world.ratings, "cat", file).stdout().strip();
    // The agent can only choose between the two ports that the client has itself.
    write(file, "40001 40002");
    String pod = address(world.ratings, six);
    try (PodServer server = PodServer.listen(world.ratings, 8087);
        PodSocket first = PodSocket.connectFrom(world.web, 40001, pod, 8087);
        PodServer.Session firstSession = server.accept();
        PodSocket second = PodSocket.connectFrom(world.web, 40002, pod, 8087);
        PodServer.Session secondSession = server.accept()) {
      firstSession.send("one\n");
      secondSession.send("two\n");
      assertThat(first.readLine(SOON)).isEqualTo("one");
      assertThat(second.readLine(SOON)).isEqualTo("two");
      assertThat(firstSession.client().getPort()).isBetween(40001, 40002);
    } finally {
      write(file, usual);
    }
  }

  private void write(String file, String text) {
    assertThat(world.lab.exec(world.ratings, "sh", "-c", "echo " + text + " > " + file).exit())
        .isZero();
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aClientMeetsAResetWhereNobodyListens(boolean six) {
    try (PodSocket client = PodSocket.connect(world.web, address(world.ratings, six), 8199)) {
      assertThat(client.end(SOON)).isEqualTo(End.RESET);
    }
    agent.awaitAccess("direction=\"inbound\"", ":8199", "reason=\"connect_failed\"");
  }

  @ParameterizedTest
  @ValueSource(ints = {15001, 15006, 15053})
  void capturePortsAreNotToBeDialledFromOutside(int port) {
    try (PodSocket client = PodSocket.connect(world.web, world.ratings.v4(), port)) {
      assertThat(client.end(SOON)).isEqualTo(End.RESET);
    }
    agent.awaitAccess("direction=\"inbound\"", ":" + port, "reason=\"direct_hit\"");
  }

  @Test
  void aResetOfTheServerReachesTheClient() {
    try (PodServer server = PodServer.listen(world.ratings, 8082);
        PodSocket client = PodSocket.connect(world.web, world.ratings.v4(), 8082)) {
      server.accept().reset();
      assertThat(client.end(SOON)).isEqualTo(End.RESET);
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aPodThatDialsItselfIsLeftAlone(boolean six) {
    String own = address(world.ratings, six);
    try (PodServer server = PodServer.listen(world.ratings, 8083);
        PodSocket client = PodSocket.connect(world.ratings, own, 8083);
        PodServer.Session session = server.accept()) {
      // To the port: the very same connection.
      assertThat(session.client()).isEqualTo(client.localAddress());
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void udpIsLeftAlone(boolean six) throws IOException {
    StandardProtocolFamily family =
        six ? StandardProtocolFamily.INET6 : StandardProtocolFamily.INET;
    InetSocketAddress at =
        new InetSocketAddress(InetAddress.ofLiteral(address(world.ratings, six)), 8084);
    try (DatagramChannel server = datagrams(world.ratings, family).bind(at);
        DatagramChannel client = datagrams(world.web, family)) {
      client.connect(at);
      client.write(ByteBuffer.wrap("ping".getBytes(StandardCharsets.US_ASCII)));
      server.socket().setSoTimeout((int) SOON.toMillis());
      java.net.DatagramPacket packet = new java.net.DatagramPacket(new byte[16], 16);
      server.socket().receive(packet);
      assertThat(packet.getSocketAddress()).isEqualTo(client.getLocalAddress());
    }
  }

  private static DatagramChannel datagrams(Place place, StandardProtocolFamily family)
      throws IOException {
    try (NetworkNamespace namespace = NetworkNamespace.open(place.path())) {
      return namespace.call(() -> DatagramChannel.open(family));
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void probesOfTheNodeReachThePodAsWithoutAnAgent(boolean six) {
    String pod = address(world.ratings, six);
    try (PodServer server = PodServer.listen(world.ratings, 8085);
        PodSocket kubelet = PodSocket.connect(world.lab.node(), pod, 8085);
        PodServer.Session session = server.accept()) {
      assertThat(session.client().getAddress())
          .isEqualTo(
              InetAddress.ofLiteral(
                  six ? "fd16:9254:7127:1337:ffff:ffff:ffff:ffff" : "169.254.7.127"));
      session.send("healthy\n");
      assertThat(kubelet.readLine(SOON)).isEqualTo("healthy");
    }
    // A probe of TCP tells whether somebody listens: nobody accepts in between.
    assertThatThrownBy(() -> PodSocket.connect(world.lab.node(), pod, 8198))
        .hasRootCauseInstanceOf(ConnectException.class);
    assertThat(agent.accessLines("direction=\"inbound\"", ":8085").toList()).isEmpty();
  }

  @Test
  void whatTheNodeForwardsForOthersIsNoProbe() {
    // A NodePort: the node translates and masquerades, so it comes from an address of the node.
    node(
        "iptables -t nat -A PREROUTING -p tcp --dport 30080 -j DNAT --to "
            + world.ratings.v4()
            + ":8086");
    node("iptables -t nat -A POSTROUTING -p tcp --dport 8086 -j MASQUERADE");
    try (PodServer server = PodServer.listen(world.ratings, 8086);
        PodSocket client = PodSocket.connect(world.web, world.lab.node().v4(), 30080);
        PodServer.Session session = server.accept()) {
      assertThat(session.client().getAddress().getHostAddress())
          .isNotEqualTo("169.254.7.127")
          .isNotEqualTo(client.localAddress().getAddress().getHostAddress());
      client.shutdownOutput();
      session.shutdownOutput();
    } finally {
      node(
          "iptables -t nat -D PREROUTING -p tcp --dport 30080 -j DNAT --to "
              + world.ratings.v4()
              + ":8086");
      node("iptables -t nat -D POSTROUTING -p tcp --dport 8086 -j MASQUERADE");
    }
    agent.awaitAccess("direction=\"inbound\"", ":8086");
  }

  private void node(String command) {
    assertThat(world.lab.exec(world.lab.node(), command.split(" ")).exit()).as(command).isZero();
  }
}
