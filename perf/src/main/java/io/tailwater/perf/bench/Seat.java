package io.tailwater.perf.bench;

import io.tailwater.lab.NetLab;
import io.tailwater.lab.Place;
import io.tailwater.lab.Running;
import io.tailwater.perf.peer.BenchException;
import io.tailwater.perf.peer.Contestant;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/// A contestant's place at the table: a pod of its own with a client in it, so that nobody's rules
/// cost anybody else, and the contestant's process while it runs. One thread.
final class Seat implements AutoCloseable {
  private static final int CAPTURE_PORT = 15_001;
  private static final Duration START = Duration.ofSeconds(30);

  private final NetLab lab;
  private final Place pod;
  private final Contestant contestant;
  private final LoadProcess client;
  private @Nullable Running running;

  Seat(NetLab lab, Place pod, Contestant contestant) {
    this.lab = lab;
    this.pod = pod;
    this.contestant = contestant;
    contestant.port().ifPresent(this::redirect);
    if (contestant.way() == Contestant.Way.TRACKED) {
      rule("filter", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP");
    }
    hosts();
    client = new LoadProcess(lab, pod, "LoadClient");
  }

  Place pod() {
    return pod;
  }

  LoadProcess client() {
    return client;
  }

  Optional<Running> running() {
    return Optional.ofNullable(running);
  }

  private void redirect(int port) {
    rule(
        "nat",
        "-d",
        BenchLab.DECOY,
        "-p",
        "tcp",
        "--dport",
        "443",
        "-j",
        "REDIRECT",
        "--to-ports",
        Integer.toString(port));
  }

  private void rule(String table, String... arguments) {
    String[] command =
        Stream.concat(
                Stream.of("iptables", "-w", "-t", table, "-A", "OUTPUT"), Stream.of(arguments))
            .toArray(String[]::new);
    lab.exec(pod, command).orThrow();
  }

  /// The names of this file are what programs in the pod look up first, before they ask the DNS
  /// server.
  private void hosts() {
    String web =
        switch (contestant.way()) {
          case DIRECT, TRACKED -> BenchLab.WEB + " " + BenchLab.WEB_SNI + "\n";
          case PROXY, CAPTURE -> BenchLab.DECOY + " " + BenchLab.WEB_SNI + "\n";
          case RELEASE -> "";
        };
    try {
      Files.writeString(
          Path.of("/etc/netns", pod.namespace(), "hosts"), "127.0.0.1 localhost\n" + web);
    } catch (IOException e) {
      throw new BenchException("cannot write the pod's hosts file", e);
    }
  }

  /// Starts the contestant and waits until connections can be sent to it.
  void start() {
    if (!contestant.runs()) {
      return;
    }
    boolean inPod = contestant.port().isPresent();
    Running started =
        lab.start(
            inPod ? pod : lab.node(), contestant.name(), java.util.Map.of(), contestant.command());
    running = started;
    if (inPod) {
      started.awaitTcp(contestant.port().orElseThrow(), START);
    } else {
      awaitCapture(started);
    }
  }

  /// Ends it, so that the next one has the machine's memory for itself.
  void stop() {
    if (running != null) {
      running.close();
      running = null;
    }
  }

  /// Waits for a listener on the capture port in the pod's namespace and for a rule that leads to
  /// it.
  private void awaitCapture(Running started) {
    long deadline = System.nanoTime() + START.toNanos();
    await(() -> listens(CAPTURE_PORT), started, deadline);
    await(() -> hasRules(pod), started, deadline);
  }

  /// Waits until the agent's rules are in another pod, too.
  void awaitRules(Place other, long deadlineNanos) {
    await(() -> hasRules(other), running().orElseThrow(), deadlineNanos);
  }

  private boolean hasRules(Place where) {
    return lab.exec(where, "iptables-save").stdout().contains(Integer.toString(CAPTURE_PORT));
  }

  private void await(BooleanSupplier done, Running agent, long deadlineNanos) {
    while (!done.getAsBoolean()) {
      if (!agent.isAlive() || System.nanoTime() - deadlineNanos > 0) {
        throw new BenchException(
            contestant.name() + " does not capture the pod's connections:\n" + agent.output());
      }
      LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(20));
    }
  }

  private boolean listens(int port) {
    String wanted = ":%04X".formatted(port);
    return Stream.of("tcp", "tcp6")
        .flatMap(table -> lines(Path.of("/proc/" + client.pid() + "/net/" + table)))
        .skip(1)
        .map(line -> line.strip().split("\\s+", 5))
        .anyMatch(
            column -> column.length > 3 && column[1].endsWith(wanted) && column[3].equals("0A"));
  }

  private static Stream<String> lines(Path file) {
    try {
      return Files.readAllLines(file).stream();
    } catch (IOException e) {
      return Stream.of();
    }
  }

  /// Before connections are made: it is alive, and who dials by name has asked for it.
  void ready() {
    if (running != null && !running.isAlive()) {
      throw new BenchException(contestant.name() + " has ended:\n" + running.output());
    }
    ask(pod);
  }

  /// Asks for the name in a pod, if the client dials what it is told.
  void ask(Place where) {
    if (contestant.way() == Contestant.Way.RELEASE) {
      lab.exec(where, "getent", "ahostsv4", BenchLab.SNI).orThrow();
    }
  }

  /// The contestant's processes, all generations; none where nothing runs.
  List<Long> pids() {
    return running().stream()
        .flatMap(one -> ProcessHandle.of(one.pid()).stream())
        .flatMap(process -> Stream.concat(Stream.of(process), process.descendants()))
        .map(ProcessHandle::pid)
        .toList();
  }

  @Override
  public void close() {
    client.close();
  }
}
