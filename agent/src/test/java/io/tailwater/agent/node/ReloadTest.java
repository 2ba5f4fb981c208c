package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/// Policy that changes while the agent runs. Each test has files and names of its own.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
class ReloadTest {
  /// Without the entry for a name that a test here brings itself.
  private static final String POLICIES =
      MainJobTest.POLICIES.replace("as-dialled.example.net", "elsewhere.example.net");

  private static World world;
  private static Path policies;
  private static RunningAgent agent;

  @BeforeAll
  static void start() throws IOException {
    world = World.build();
    policies = world.policies(POLICIES);
    // As Kubernetes mounts a ConfigMap: the folder is a link to a link that is swapped.
    Path mount = world.lab.folder("mount");
    version(mount, "v1", "edition.cnn.com");
    Files.createSymbolicLink(mount.resolve("..data"), Path.of("v1"));
    Files.createSymbolicLink(mount.resolve("entry.yaml"), Path.of("..data/entry.yaml"));
    agent =
        RunningAgent.start(
            world,
            world.configuration(
                """
                mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
                sources: [{files: POLICIES}, {files: MOUNT}]
                pods:
                  - {namespace: default, name: ratings-v1, netns: RATINGS}
                  - {namespace: mounted, name: reviews-v1, netns: REVIEWS}
                """
                    .replace("POLICIES", policies.toString())
                    .replace("MOUNT", mount.toString())));
  }

  @AfterAll
  static void stop() {
    if (world != null) {
      world.close();
    }
  }

  private static void version(Path mount, String name, String host) throws IOException {
    Files.createDirectories(mount.resolve(name));
    World.write(mount.resolve(name).resolve("entry.yaml"), entry("mounted", "mounted", host));
  }

  private static String entry(String namespace, String name, String host) {
    return """
    apiVersion: networking.istio.io/v1
    kind: ServiceEntry
    metadata: {name: NAME, namespace: NAMESPACE}
    spec:
      hosts: [HOST]
      exportTo: ["."]
      location: MESH_EXTERNAL
      ports: [{number: 443, name: tls, protocol: TLS}]
      resolution: DNS
    """
        .replace("NAMESPACE", namespace)
        .replace("NAME", name)
        .replace("HOST", host);
  }

  private static boolean reaches(io.tailwater.lab.Place pod, String site) {
    return world.curlViaDecoy(pod, site).ok();
  }

  @Test
  void aNewFileIsInForceAndItsRemovalToo() throws IOException {
    assertThat(reaches(world.ratings, "example.org")).isFalse();
    Path file = policies.resolve("more.yaml");
    World.write(file, entry("default", "example", "example.org"));
    World.await(
        () -> "example.org is allowed\n" + agent.log(),
        () -> reaches(world.ratings, "example.org"));
    Files.delete(file);
    World.await(
        () -> "example.org is refused\n" + agent.log(),
        () -> !reaches(world.ratings, "example.org"));
  }

  @Test
  void aFileThatBecomesBadIsReportedWithItsLineAndTheLastGoodPolicyStays() throws IOException {
    Path file = policies.resolve("fragile.yaml");
    World.write(
        file,
        entry("default", "fragile", "as-dialled.example.net")
            .replace("DNS", "STATIC\n  endpoints: [{address: 198.51.100.22}]"));
    World.await(
        () -> "the entry is in force", () -> reaches(world.ratings, "as-dialled.example.net"));
    World.write(
        file, "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: [\n");
    World.await(
        () -> "the bad file is reported\n" + agent.log(),
        () -> agent.log().lines().anyMatch(l -> l.matches(".*fragile\\.yaml:\\d+.*")));
    assertThat(reaches(world.ratings, "as-dialled.example.net")).isTrue();
    assertThat(reaches(world.ratings, "de.wikipedia.org")).isTrue();
    Files.delete(file);
  }

  @Test
  void aSwappedSymbolicLinkIsNoticed() throws IOException {
    World.await(
        () -> "the first version is in force", () -> reaches(world.reviews, "edition.cnn.com"));
    Path mount = world.lab.folder().resolve("mount");
    version(mount, "v2", "example.org");
    Files.createSymbolicLink(mount.resolve("..new"), Path.of("v2"));
    Files.move(mount.resolve("..new"), mount.resolve("..data"), StandardCopyOption.ATOMIC_MOVE);
    World.await(
        () -> "the second version is in force\n" + agent.log(),
        () -> reaches(world.reviews, "example.org"));
    assertThat(reaches(world.reviews, "edition.cnn.com")).isFalse();
  }

  @Test
  void aConnectionThatIsUnderWaySurvivesAReload() {
    try (TcpServer echo = TcpServer.start(world.lab, world.web, Map.of(25, Behaviour.ECHO));
        PodSocket client = PodSocket.connect(world.ratings, World.v4("example.org"), 25)) {
      assertThat(echo.process().isAlive()).isTrue();
      client.send("before\n");
      assertThat(client.readLine(Duration.ofSeconds(10))).isEqualTo("before");
      Path file = policies.resolve("policies.yaml");
      World.write(file, POLICIES.replace("[198.51.100.30]", "[198.51.100.31]"));
      World.await(
          () -> "the entry for the address is gone\n" + agent.log(),
          () -> {
            try (PodSocket late = PodSocket.connect(world.ratings, World.v4("example.org"), 25)) {
              return late.end(Duration.ofSeconds(1)) == PodSocket.End.RESET;
            }
          });
      client.send("after\n");
      assertThat(client.readLine(Duration.ofSeconds(10))).isEqualTo("after");
      World.write(file, POLICIES);
    }
  }
}
