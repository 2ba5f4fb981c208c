package io.tailwater.lab;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.OptionalInt;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;

/// A process in a place of the lab, ended with the lab at the latest. Its output goes to a file and
/// not to a pipe, so that it neither blocks nor dies when nobody reads. Any thread; methods that
/// wait are bounded.
public final class Running implements AutoCloseable {
  private static final Duration GRACE = Duration.ofSeconds(5);

  private final String name;
  private final Process process;
  private final Path log;

  Running(String name, Process process, Path log) {
    this.name = name;
    this.process = process;
    this.log = log;
  }

  public long pid() {
    return process.pid();
  }

  public boolean isAlive() {
    return process.isAlive();
  }

  /// The exit status, once it has ended.
  public OptionalInt exit() {
    return process.isAlive() ? OptionalInt.empty() : OptionalInt.of(process.exitValue());
  }

  /// What it has printed so far, both outputs in one.
  public String output() {
    try {
      return Files.readString(log, StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new LabException("cannot read the output of " + name, e);
    }
  }

  /// Where the output goes.
  public Path log() {
    return log;
  }

  /// Waits until it has printed `text`. Fails early when the process ends without.
  public void awaitOutput(String text, Duration limit) {
    await("print \"" + text + "\"", limit, () -> output().contains(text));
  }

  /// Waits until something in its namespace listens on a TCP port, IPv4 or IPv6.
  public void awaitTcp(int port, Duration limit) {
    await(
        "listen on TCP " + port,
        limit,
        () -> bound("tcp", port, "0A") || bound("tcp6", port, "0A"));
  }

  /// Waits until something in its namespace has a UDP port, IPv4 or IPv6.
  public void awaitUdp(int port, Duration limit) {
    await("take UDP " + port, limit, () -> bound("udp", port, "07") || bound("udp6", port, "07"));
  }

  /// Waits for the process to end by itself and returns its exit status.
  public int awaitExit(Duration limit) {
    try {
      if (!process.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS)) {
        throw new LabException(
            name + " did not end within " + limit + "; it printed:\n" + output());
      }
      return process.exitValue();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new LabException("interrupted while waiting for " + name, e);
    }
  }

  /// Sends a signal by its short name, e.g. `HUP`, `STOP`, `CONT`.
  public void signal(String signal) {
    Commands.run(GRACE, List.of("kill", "-" + signal, Long.toString(process.pid())));
  }

  /// Asks it to end, and after five seconds ends it. Its children are ended too.
  @Override
  public void close() {
    List<ProcessHandle> children = process.descendants().toList();
    process.destroy();
    try {
      if (!process.waitFor(GRACE.toMillis(), TimeUnit.MILLISECONDS)) {
        // A stopped process takes no TERM; KILL it does take.
        process.destroyForcibly();
        process.waitFor(GRACE.toMillis(), TimeUnit.MILLISECONDS);
      }
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    }
    children.forEach(ProcessHandle::destroyForcibly);
  }

  private void await(String what, Duration limit, BooleanSupplier condition) {
    long deadline = System.nanoTime() + limit.toNanos();
    while (!condition.getAsBoolean()) {
      if (!process.isAlive()) {
        throw new LabException(
            name
                + " ended with "
                + process.exitValue()
                + " and did not "
                + what
                + ":\n"
                + output());
      }
      if (System.nanoTime() - deadline > 0) {
        throw new LabException(name + " did not " + what + " within " + limit + ":\n" + output());
      }
      LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(10));
    }
  }

  /// Looks in `/proc/PID/net`, which shows the sockets of the process's namespace, for a local port
  /// (fourth to seventh hex digit after the last colon) in a state (hex).
  private boolean bound(String table, int port, String state) {
    String wanted = String.format(":%04X", port);
    try (Stream<String> lines = Files.lines(Path.of("/proc", Long.toString(pid()), "net", table))) {
      return lines
          .skip(1)
          .map(line -> line.strip().split("\\s+", 5))
          .anyMatch(column -> column[1].endsWith(wanted) && column[3].equals(state));
    } catch (IOException | java.io.UncheckedIOException e) {
      return false; // ended, or a kernel without IPv6
    }
  }
}
