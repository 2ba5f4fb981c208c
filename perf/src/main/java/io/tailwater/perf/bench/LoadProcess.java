package io.tailwater.perf.bench;

import io.tailwater.lab.NetLab;
import io.tailwater.lab.Place;
import io.tailwater.perf.load.Fields;
import io.tailwater.perf.peer.BenchException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;

/// A load generator in a place of the lab, held by its standard input: it ends when that ends.
/// Asked one line at a time, by one thread.
final class LoadProcess implements AutoCloseable {
  private static final String MAIN = "io.tailwater.perf.load.";
  private static final Duration START = Duration.ofSeconds(20);

  private final Process process;
  private final PrintStream in;
  private final BlockingQueue<String> answers = new ArrayBlockingQueue<>(16);
  private final String name;

  /// Starts `LoadServer` or `LoadClient` and waits until it is ready.
  LoadProcess(NetLab lab, Place place, String main, String... arguments) {
    name = main;
    List<String> command = new ArrayList<>(List.of("setsid"));
    command.addAll(
        lab.in(
            place,
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:+UseSerialGC",
                "-Xmx128m",
                "-XX:MaxDirectMemorySize=64m",
                "-XX:-UsePerfData",
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                MAIN + main)));
    command.addAll(List.of(arguments));
    try {
      process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    } catch (IOException e) {
      throw new BenchException("cannot start " + main, e);
    }
    in = new PrintStream(process.getOutputStream(), true, StandardCharsets.UTF_8);
    Thread.ofPlatform().daemon().name(main + "-answers").start(this::read);
    String ready = await(START);
    if (!ready.equals("ready")) {
      close();
      throw new BenchException(main + " said '" + ready + "' instead of ready");
    }
  }

  long pid() {
    return process.pid();
  }

  /// Sends a run and waits for its result.
  ///
  /// @throws BenchException if it failed or took longer than `limit`
  Fields ask(Fields run, Duration limit) {
    in.println(run.line());
    Fields answer = Fields.parse(await(limit));
    if (!answer.verb().equals("ok")) {
      throw new BenchException(
          run.verb() + ": " + answer.values().getOrDefault("why", "?").replace('_', ' '));
    }
    return answer;
  }

  private String await(Duration limit) {
    try {
      String line = answers.poll(limit.toMillis(), TimeUnit.MILLISECONDS);
      if (line == null) {
        close();
        throw new BenchException(name + " gave no answer within " + limit.toSeconds() + " s");
      }
      return line;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new BenchException("interrupted while waiting for " + name, e);
    }
  }

  private void read() {
    try (BufferedReader out =
        new BufferedReader(
            new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
      for (String line = out.readLine(); line != null; line = out.readLine()) {
        answers.put(line);
      }
      answers.put("failed why=the_" + name + "_ended");
    } catch (IOException e) {
      // ended while being closed
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void close() {
    in.close();
    process.destroy();
    try {
      if (!process.waitFor(3, TimeUnit.SECONDS)) {
        process.destroyForcibly();
      }
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }
}
