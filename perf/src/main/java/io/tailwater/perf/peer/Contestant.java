package io.tailwater.perf.peer;

import java.util.List;
import java.util.OptionalInt;

/// One that takes part.
///
/// @param name one word, as in `--only` and in the table
/// @param version what it calls itself
/// @param port where a [Way#PROXY] listens in its pod, empty for all others
/// @param command how it is started, empty where there is nothing to start
public record Contestant(
    String name, String version, Way way, OptionalInt port, List<String> command) {
  public static final String DIRECT = "direct";

  /// How the client's connections reach the server.
  public enum Way {
    /// The client dials the server, and its kernel looks at nothing.
    DIRECT,
    /// The client dials the server, and its kernel tracks the connection: what every rule on
    /// connections costs at least.
    TRACKED,
    /// A program in the pod, behind a rule that redirects.
    PROXY,
    /// A program on the node with rules of its own. The client dials an address that nobody has:
    /// the name alone counts.
    CAPTURE,
    /// The same, but the client asks for the name and dials what it was told, so that the kernel
    /// may carry the connection.
    RELEASE;

    /// Whether the client dials the server's own address.
    public boolean dialsServer() {
      return this != PROXY && this != CAPTURE;
    }
  }

  public Contestant {
    command = List.copyOf(command);
    if ((way == Way.PROXY) != port.isPresent()) {
      throw new IllegalArgumentException(name + ": a port belongs to a proxy and to nobody else");
    }
  }

  /// No proxy at all.
  public static Contestant direct() {
    return new Contestant(DIRECT, "direct", Way.DIRECT, OptionalInt.empty(), List.of());
  }

  /// No proxy, but the kernel tracks.
  public static Contestant tracked() {
    return new Contestant(
        "tracked", "direct and tracked", Way.TRACKED, OptionalInt.empty(), List.of());
  }

  /// Whether there is a process to start and to look at.
  public boolean runs() {
    return !command.isEmpty();
  }
}
