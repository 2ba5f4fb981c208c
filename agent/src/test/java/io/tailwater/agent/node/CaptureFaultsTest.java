package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.TcpServer;
import io.tailwater.lab.TcpServer.Behaviour;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/// Pods that cannot be captured yet, and rules that somebody else changes.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter"})
class CaptureFaultsTest {
  private static World world;
  private static RunningAgent agent;
  private static Path later;
  private static TcpServer squatter;

  @BeforeAll
  static void start() {
    world = World.build();
    Path policies = world.policies(MainJobTest.POLICIES);
    later = world.lab.folder("netns").resolve("later");
    squatter = TcpServer.start(world.lab, world.reviews, Map.of(15001, Behaviour.ECHO));
    agent =
        RunningAgent.start(
            world,
            world.configuration(
                """
                mesh: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
                sources: [{files: POLICIES}]
                pods:
                  - {namespace: default, name: late, netns: LATER}
                  - {namespace: other, name: squatted, netns: REVIEWS}
                """
                    .replace("POLICIES", policies.toString())
                    .replace("LATER", later.toString())));
  }

  @AfterAll
  static void stop() {
    if (world != null) {
      world.close();
    }
  }

  @Test
  void aNamespaceThatIsNotThereIsAWarningAndIsTakenWhenItComes() throws IOException {
    assertThat(agent.log()).contains("default/late").contains(later.toString());
    Files.createSymbolicLink(later, world.ratings.path());
    agent.process().awaitOutput("pod default/late: captured", java.time.Duration.ofSeconds(15));
    assertThat(world.curlViaDecoy(world.ratings, "en.wikipedia.org").ok()).isTrue();
  }

  @Test
  void aCapturePortThatIsTakenIsSaidAndThePodIsTakenWhenItIsFree() {
    assertThat(agent.log()).contains("other/squatted").contains("15001");
    // Whoever takes the port first must not open the pod by it: its rules are there all the same.
    assertThat(world.lab.exec(world.reviews, "iptables-save").orThrow()).contains("REDIRECT");
    assertThat(world.curlViaDecoy(world.reviews, "en.wikipedia.org").ok()).isFalse();
    squatter.close();
    agent.process().awaitOutput("pod other/squatted: captured", java.time.Duration.ofSeconds(40));
    assertThat(world.curlViaDecoy(world.reviews, "en.wikipedia.org").ok()).isTrue();
  }
}
