package io.tailwater.agent.cli;

import io.tailwater.agent.config.AgentConfigReader;
import io.tailwater.agent.config.ConfigProblem;
import io.tailwater.agent.node.Agent;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicInteger;
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
    Agent agent;
    try {
      agent = Agent.prepare(loaded.config().get());
    } catch (Agent.StartException e) {
      String.valueOf(e.getMessage()).lines().forEach(l -> System.err.println("tailwater: " + l));
      return switch (e.kind()) {
        case MISSING -> 3;
        case FAILED -> 1;
      };
    }
    AtomicInteger exit = new AtomicInteger();
    endWithTheProcess(agent, exit);
    try {
      agent.begin();
    } catch (RuntimeException e) {
      exit.set(1);
      throw e;
    }
    agent.awaitEnd();
    return 0;
  }

  /// Set up before the first pod is touched: a signal that comes while the agent starts must not
  /// leave rules without a listener. An agent that was asked to end and did has succeeded: the JVM
  /// would say 143.
  private static void endWithTheProcess(Agent agent, AtomicInteger exit) {
    Runtime.getRuntime()
        .addShutdownHook(
            Thread.ofPlatform()
                .name("tailwater-shutdown")
                .unstarted(() -> {
                  agent.close();
                  System.out.flush();
                  System.err.flush();
                  Runtime.getRuntime().halt(exit.get());
                }));
  }
}
