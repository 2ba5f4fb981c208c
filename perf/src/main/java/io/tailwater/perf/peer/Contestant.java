package io.tailwater.perf.peer;

import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/// One that takes part.
///
/// @param name one word, as in `--only` and in the table
/// @param version what it calls itself
/// @param port where the pod's connections are redirected to; empty when it captures by rules of
///   its own, or is no proxy
/// @param command how it is started, empty for the direct connection
/// @param inPod whether it runs in the pod's network namespace, or in the node's
public record Contestant(
    String name,
    String version,
    OptionalInt port,
    List<String> command,
    Map<String, String> environment,
    boolean inPod) {
  public static final String DIRECT = "direct";
  public static final String TAILWATER = "tailwater";

  public Contestant {
    command = List.copyOf(command);
    environment = Map.copyOf(environment);
  }

  /// No proxy: the client dials the server.
  public static Contestant direct() {
    return new Contestant(DIRECT, "", OptionalInt.empty(), List.of(), Map.of(), true);
  }

  public boolean isDirect() {
    return command.isEmpty();
  }
}
