package io.tailwater.agent.cli;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/// A page of the agent that can be narrowed to a namespace or a pod.
abstract class PodPageCommand extends AskCommand {
  private final String path;

  @Option(
      names = {"-n", "--namespace"},
      paramLabel = "NS",
      description = "Only pods of this namespace.")
  private @Nullable String namespace;

  @Option(names = "--pod", paramLabel = "NAME", description = "Only pods of this name.")
  private @Nullable String pod;

  PodPageCommand(String path) {
    this.path = path;
  }

  @Override
  public Integer call() {
    List<Parameter> parameters = new ArrayList<>();
    if (namespace != null) {
      parameters.add(new Parameter("namespace", namespace));
    }
    if (pod != null) {
      parameters.add(new Parameter("pod", pod));
    }
    return get(path, parameters);
  }
}
