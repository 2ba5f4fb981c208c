package io.tailwater.agent.node;

import io.tailwater.agent.cli.Tailwater;
import io.tailwater.lab.Place;
import io.tailwater.lab.Result;
import io.tailwater.lab.Running;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/// The agent as a foreign process in the lab's node: the image that the launcher has built and
/// names in `AGENT_UNDER_TEST`, else the classes under test, started as the image starts them. Any
/// thread.
final class RunningAgent implements AutoCloseable {
  /// As in `build/image`.
  private static final List<String> FLAGS =
      List.of(
          "-XX:+UseSerialGC",
          "-Xms8m",
          "-Xmn3m",
          "-Xmx96m",
          "-XX:MaxDirectMemorySize=96m",
          "-Xss256k",
          "-XX:TieredStopAtLevel=1",
          "-XX:ReservedCodeCacheSize=16m",
          "-XX:-UsePerfData",
          "-Xshare:auto",
          "--enable-native-access=ALL-UNNAMED");

  private static final Duration READY = Duration.ofSeconds(40);

  private final World world;
  private final Running process;
  private final Path configuration;

  private RunningAgent(World world, Running process, Path configuration) {
    this.world = world;
    this.process = process;
    this.configuration = configuration;
  }

  /// A command line of the agent's binary.
  static List<String> command(String... arguments) {
    List<String> command = new ArrayList<>();
    String image = System.getenv("AGENT_UNDER_TEST");
    if (image == null) {
      command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
      command.addAll(FLAGS);
      command.addAll(
          List.of("-cp", System.getProperty("java.class.path"), Tailwater.class.getName()));
    } else {
      command.add(image);
    }
    command.addAll(List.of(arguments));
    return command;
  }

  /// Starts `run` with a configuration and waits until it says that it is ready.
  static RunningAgent start(World world, Path configuration) {
    return launch(world, configuration).awaitReady();
  }

  /// Starts `run` and waits for nothing.
  static RunningAgent launch(World world, Path configuration) {
    return launch(world, configuration, List.of());
  }

  /// The same under another command, e.g. one that joins a control group.
  static RunningAgent launch(World world, Path configuration, List<String> wrapper) {
    List<String> whole = new ArrayList<>(wrapper);
    whole.addAll(command("run", "--config", configuration.toString()));
    Running process =
        world.lab.start(world.lab.node(), "agent", Map.of("MALLOC_ARENA_MAX", "1"), whole);
    return new RunningAgent(world, process, configuration);
  }

  /// One run of the agent's binary in the node to its end.
  static Result once(World world, String... arguments) {
    return world.lab.exec(world.lab.node(), READY, command(arguments));
  }

  /// As above, under another command, e.g. one that drops privileges.
  static Result once(World world, Place place, List<String> wrapper, String... arguments) {
    List<String> whole = new ArrayList<>(wrapper);
    whole.addAll(command(arguments));
    return world.lab.exec(place, READY, whole);
  }

  /// Waits until it says that it is ready.
  RunningAgent awaitReady() {
    process.awaitOutput("the agent is ready", READY);
    return this;
  }

  Running process() {
    return process;
  }

  /// The agent's own log.
  String log() {
    return process.output();
  }

  Path configuration() {
    return configuration;
  }

  Path accessLogFile() {
    return configuration.resolveSibling("access.log");
  }

  /// What the access log holds now.
  String accessLog() {
    return World.read(accessLogFile());
  }

  /// The first line of the access log that holds all of these, when it is there.
  String awaitAccess(String... parts) {
    World.await(
        () ->
            "a line of the access log with "
                + List.of(parts)
                + "; its end is\n"
                + tail(accessLog()),
        () -> accessLines(parts).findFirst().isPresent());
    return accessLines(parts).findFirst().orElseThrow();
  }

  private static String tail(String text) {
    List<String> lines = text.lines().toList();
    return String.join("\n", lines.subList(Math.max(0, lines.size() - 6), lines.size()));
  }

  Stream<String> accessLines(String... parts) {
    return accessLog().lines().filter(line -> Stream.of(parts).allMatch(line::contains));
  }

  /// A page of the agent, read with curl in the node.
  Result page(String page) {
    return world.lab.exec(world.lab.node(), "curl", "-sS", "-m", "5", "http://localhost:" + page);
  }

  int descriptors() {
    return count("fd");
  }

  int threads() {
    return count("task");
  }

  private int count(String folder) {
    try (Stream<Path> entries =
        Files.list(Path.of("/proc", Long.toString(process.pid()), folder))) {
      return (int) entries.count();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Asks it to end and returns its exit code.
  int stop() {
    process.signal("TERM");
    return process.awaitExit(Duration.ofSeconds(15));
  }

  @Override
  public void close() {
    if (process.isAlive()) {
      stop();
    }
  }
}
