package io.tailwater.lab;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/// Plain TCP servers on a place of the lab, one process (a small JVM) for any number of ports. What
/// each port does is a [Behaviour]. Any thread.
public final class TcpServer implements AutoCloseable {
  /// What a port does with a connection.
  public enum Behaviour {
    /// Sends back what comes, and ends when the client ends.
    ECHO,
    /// Speaks first, `220 lab ready` and a line end, then echoes: as mail servers and MySQL do.
    BANNER,
    /// Reads to the end, then answers with the byte count and SHA-256 of all that came, in one
    /// line.
    DIGEST,
    /// Reads for ever and says nothing.
    SINK,
    /// Accepts and never reads.
    STALL,
    /// Resets as soon as the first byte has come.
    RESET,
    /// Ends its own direction at once, then reads to the end.
    HALF_CLOSE
  }

  private static final Duration START = Duration.ofSeconds(15);

  private final Running process;

  private TcpServer(Running process) {
    this.process = process;
  }

  /// Starts the ports given, on all addresses of the place.
  public static TcpServer start(NetLab lab, Place place, Map<Integer, Behaviour> ports) {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx64m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                Classes.location(),
                TcpServerMain.class.getName()));
    ports.forEach((port, behaviour) -> command.add(port + "=" + behaviour));
    Running process = lab.start(place, "tcp-server", Map.of(), command);
    process.awaitOutput("ready", START);
    return new TcpServer(process);
  }

  /// One line for each connection that ended: `PORT BEHAVIOUR CLIENT bytes=N`.
  public String output() {
    return process.output();
  }

  public Running process() {
    return process;
  }

  @Override
  public void close() {
    process.close();
  }
}
