package io.tailwater.iptables.apply;

import io.tailwater.iptables.netns.NetworkNamespace;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/// Real processes, each with a bound on its time. Any thread that is not inside a namespace.
public final class Processes implements CommandRunner {
  /// Longer than the ten seconds for which iptables-legacy waits for its lock.
  private static final Duration DEFAULT_LIMIT = Duration.ofSeconds(20);

  /// Where administration programs live; often not on the path of an ordinary user or a container.
  private static final List<String> MORE_FOLDERS = List.of("/usr/sbin", "/sbin", "/usr/local/sbin");

  private final Duration limit;

  public Processes() {
    this(DEFAULT_LIMIT);
  }

  public Processes(Duration limit) {
    this.limit = limit;
  }

  @Override
  public Result run(List<String> command, String input, List<String> environment) {
    if (NetworkNamespace.isInside()) {
      throw new IllegalStateException(
          "A process must not be started from inside a namespace: Java's own threads would be born"
              + " there. Use nsenter from outside");
    }
    String program = command.get(0);
    Process process = start(program, command, environment);
    CompletableFuture<String> output = read(process.getInputStream(), program + "-output");
    CompletableFuture<String> error = read(process.getErrorStream(), program + "-error");
    try {
      write(process.getOutputStream(), input);
      if (!process.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS)) {
        throw new CommandException(
            String.join(" ", command) + " did not end within " + limit.toSeconds() + " s", false);
      }
      return new Result(
          process.exitValue(), output.get(1, TimeUnit.SECONDS), error.get(1, TimeUnit.SECONDS));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CommandException(String.join(" ", command) + " was interrupted", false);
    } catch (ExecutionException | TimeoutException e) {
      throw new CommandException(
          String.join(" ", command) + ": its output cannot be read: " + e, false);
    } finally {
      end(process);
    }
  }

  /// Nothing of it is left when this returns, but for a program that the kernel does not let go of.
  private static void end(Process process) {
    if (!process.isAlive()) {
      return;
    }
    process.destroyForcibly();
    boolean interrupted = Thread.interrupted();
    try {
      process.waitFor(1, TimeUnit.SECONDS);
    } catch (InterruptedException _) {
      interrupted = true;
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /// The program's full path, or empty: searched on the PATH and in the folders of administration
  /// programs.
  public static Optional<Path> find(String program) {
    if (program.contains("/")) {
      return Optional.of(Path.of(program)).filter(Files::isExecutable);
    }
    return folders().stream()
        .map(folder -> Path.of(folder, program))
        .filter(Files::isExecutable)
        .findFirst();
  }

  private static Process start(String program, List<String> command, List<String> environment) {
    Path found =
        find(program)
            .orElseThrow(() ->
                new CommandException(
                    "There is no program " + program + " in " + String.join(":", folders()), true));
    List<String> line = new ArrayList<>(command);
    line.set(0, found.toString());
    ProcessBuilder builder = new ProcessBuilder(line);
    builder.environment().put("LC_ALL", "C");
    builder.environment().put("PATH", String.join(":", folders()));
    for (String variable : environment) {
      int equals = variable.indexOf('=');
      builder.environment().put(variable.substring(0, equals), variable.substring(equals + 1));
    }
    try {
      return builder.start();
    } catch (IOException e) {
      throw new CommandException(program + " cannot be started: " + e.getMessage(), false);
    }
  }

  private static List<String> folders() {
    List<String> folders = new ArrayList<>();
    String path = System.getenv("PATH");
    if (path != null) {
      for (String folder : path.split(File.pathSeparator, -1)) {
        if (folder.startsWith("/") && !folders.contains(folder)) {
          folders.add(folder);
        }
      }
    }
    for (String folder : MORE_FOLDERS) {
      if (!folders.contains(folder)) {
        folders.add(folder);
      }
    }
    return folders;
  }

  private static void write(OutputStream to, String input) {
    try (to) {
      to.write(input.getBytes(StandardCharsets.UTF_8));
    } catch (IOException e) {
      // The program ended without reading everything; its exit status and complaint tell why.
      return;
    }
  }

  /// Platform threads, because they block in reads of pipes; they end with the process.
  private static CompletableFuture<String> read(InputStream from, String name) {
    CompletableFuture<String> text = new CompletableFuture<>();
    Thread.ofPlatform()
        .daemon()
        .name(name)
        .start(() -> {
          try (from) {
            text.complete(new String(from.readAllBytes(), StandardCharsets.UTF_8));
          } catch (IOException e) {
            text.completeExceptionally(new UncheckedIOException(e));
          }
        });
    return text;
  }
}
