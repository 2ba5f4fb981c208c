package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.lab.NeedsRoot;
import io.tailwater.lab.Result;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/// What `run` says, and with which code it ends, when it cannot start.
@NeedsRoot(commands = {"nginx", "dnsmasq", "openssl", "curl", "nsenter", "setpriv"})
class StartTest {
  private static World world;
  private static Path policies;

  @BeforeAll
  static void build() {
    world = World.build();
    policies = world.policies(MainJobTest.POLICIES);
  }

  @AfterAll
  static void remove() {
    if (world != null) {
      world.close();
    }
  }

  private static Result run(Path configuration) {
    return RunningAgent.once(world, "run", "--config", configuration.toString());
  }

  @Test
  void withoutPrivilegeItEndsWith3AndNamesTheCapabilities() {
    Result run =
        RunningAgent.once(
            world,
            world.lab.node(),
            List.of(
                "setpriv",
                "--bounding-set=-sys_admin,-net_admin",
                "--inh-caps=-sys_admin,-net_admin"),
            "run",
            "--config",
            world.configuration(policies, "").toString());
    assertThat(run.exit()).as(run.stderr()).isEqualTo(3);
    assertThat(run.stderr())
        .contains("CAP_SYS_ADMIN")
        .contains("CAP_NET_ADMIN")
        .contains("Run as root")
        .doesNotContain("\tat ");
  }

  @Test
  void anUnknownKeyEndsWith2AndItsLine() {
    Path file = world.configuration(policies, "transprot: epoll\n");
    Result run = run(file);
    assertThat(run.exit()).isEqualTo(2);
    int line =
        (int) World.read(file).lines().takeWhile(l -> !l.startsWith("transprot")).count() + 1;
    assertThat(run.stderr())
        .contains(file + ":" + line)
        .contains("transprot")
        .contains("transport");
  }

  @Test
  void aFeatureThatIsNotBuiltYetEndsWith2() {
    Path file =
        World.write(
            world.lab.folder("later").resolve("agent.yaml"), "sources:\n- kubernetes: {}\n");
    Result run = run(file);
    assertThat(run.exit()).isEqualTo(2);
    assertThat(run.stderr()).contains("kubernetes").contains("not built yet");
  }

  @Test
  void aConfigurationThatIsNotThereEndsWith2() {
    Result run = run(Path.of("/nowhere/agent.yaml"));
    assertThat(run.exit()).isEqualTo(2);
    assertThat(run.stderr()).contains("/nowhere/agent.yaml").contains("no such file");
  }

  @Test
  void brokenYamlEndsWith2AndItsLine() {
    Path file = World.write(world.lab.folder("broken").resolve("agent.yaml"), "node: a\n  b: [\n");
    Result run = run(file);
    assertThat(run.exit()).isEqualTo(2);
    assertThat(run.stderr()).containsPattern("agent\\.yaml:\\d+").doesNotContain("\tat ");
  }

  @Test
  void anAccessLogThatCannotBeWrittenEndsWith1() {
    Result run =
        run(
            world.configuration(
                policies, "accessLog: {format: text, path: /nowhere/access.log}\n"));
    assertThat(run.exit()).isEqualTo(1);
    assertThat(run.stderr()).contains("accessLog.path").contains("/nowhere/access.log");
  }

  @Test
  void withNothingToCaptureItSaysSo() {
    try (RunningAgent agent = RunningAgent.start(world, world.configuration(""))) {
      assertThat(agent.log()).contains("nothing is captured").contains("no sources of policy");
      assertThat(agent.stop()).isZero();
    }
  }
}
