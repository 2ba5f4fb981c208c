package io.tailwater.agent.admin;

import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A request that passed all checks of the server. `parameters` are decoded; a name without a value
/// has an empty one.
public record Request(
    String method, String path, Map<String, List<String>> parameters, String accept) {

  /// The first value of a parameter.
  public Optional<String> parameter(String name) {
    return Optional.ofNullable(parameters.get(name)).map(List::getFirst);
  }

  public boolean has(String name) {
    return parameters.containsKey(name);
  }

  boolean json() {
    return parameter("format").filter(f -> f.equals("json")).isPresent();
  }
}
