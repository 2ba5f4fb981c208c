package io.tailwater.agent.cli;

import io.tailwater.agent.config.AgentConfig;
import io.tailwater.agent.config.AgentConfigReader;
import io.tailwater.agent.config.ConfigProblem;
import io.tailwater.agent.node.Agent;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/// `run`: the agent, until it is told to end.
@Command(
    name = "run",
    description = "Run the agent.",
    footer = "%nExample: tailwater run --config /etc/tailwater/agent.yaml",
    mixinStandardHelpOptions = true)
final class RunCommand implements Callable<Integer> {
  @Option(
      names = "--config",
      required = true,
      paramLabel = "FILE",
      description = "The agent's configuration.")
  private Path config = Path.of("tailwater.yaml");

  @Override
  public Integer call() throws InterruptedException {
    AgentConfigReader.Loaded loaded = AgentConfigReader.read(config, System.getenv());
    for (ConfigProblem problem : loaded.problems()) {
      System.err.println(problem);
    }
    if (loaded.config().isEmpty()) {
      return 2;
    }
    AgentConfig wanted = loaded.config().get();
    Agent agent;
    try {
      agent = Agent.start(wanted);
    } catch (Agent.StartException e) {
      System.err.println("tailwater: " + e.getMessage());
      return 3;
    }
    CountDownLatch stopped = new CountDownLatch(1);
    Runtime.getRuntime()
        .addShutdownHook(
            Thread.ofPlatform()
                .name("tailwater-shutdown")
                .unstarted(() -> {
                  agent.close();
                  stopped.countDown();
                }));
    stopped.await();
    return 0;
  }
}
