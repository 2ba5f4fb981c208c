package io.tailwater.lab.demo;

import io.tailwater.lab.LabException;
import io.tailwater.lab.Running;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/// The training run for the image's AOT cache: the demo's scenario with the agent under a command
/// line that records what it loads. Arguments: the examples folder, then the command. Ends the
/// agent in order, because the cache is written when it exits. Exit 0 when the agent served and
/// ended.
public final class Training {
  private static final Duration WRITING = Duration.ofMinutes(2);

  private Training() {}

  public static void main(String[] arguments) {
    List<String> command = new ArrayList<>(Arrays.asList(arguments).subList(1, arguments.length));
    try (Scenario scenario = Scenario.build(Path.of(arguments[0]))) {
      Running agent = scenario.startAgent(command);
      for (String name : List.of("en.wikipedia.org", "edition.cnn.com", "example.org")) {
        scenario.curl(scenario.ratings(), "https://" + name + "/", "-4");
        scenario.curl(scenario.ratings(), "https://" + name + "/", "-6");
      }
      for (String page :
          List.of("15000/clusters", "15000/stats", "15000/denials", "15020/metrics")) {
        scenario.node("curl", "-s", "-m", "5", "-o", "/dev/null", "http://localhost:" + page);
      }
      agent.signal("TERM");
      int exit = agent.awaitExit(WRITING);
      System.out.println("training: the agent ended with " + exit);
      System.out.println(agent.output());
    } catch (LabException e) {
      System.err.println("training: " + e.getMessage());
      System.exit(1);
    }
  }
}
