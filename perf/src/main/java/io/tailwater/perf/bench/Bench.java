package io.tailwater.perf.bench;

import io.tailwater.perf.load.Fields;
import io.tailwater.perf.measure.Memory;
import io.tailwater.perf.peer.BenchException;
import io.tailwater.perf.peer.Contestant;
import io.tailwater.perf.peer.Entrants;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.stream.Collectors;

/// Plays the rounds. In each round every contestant has one turn, in an order that changes from
/// round to round, so that a machine that gets slower or faster meets all of them; ratios are taken
/// within a round. One thread.
public final class Bench implements AutoCloseable {
  private static final Duration LIMIT = Duration.ofSeconds(90);
  private static final long CHECKED_BYTES = 20_000_003;

  private static final int HOLD_MILLIS = 1000;

  private final Plan plan;
  private final Set<Part> parts;
  private final Consumer<String> progress;
  private final BenchLab lab;
  private final List<Contestant> contestants = new ArrayList<>();
  private final List<Sample> samples = new ArrayList<>();

  /// Builds the lab with a pod for each contestant.
  public Bench(
      Plan plan,
      Set<Part> parts,
      List<String> names,
      Entrants entrants,
      Consumer<String> progress) {
    this.plan = plan;
    this.parts = Set.copyOf(parts);
    this.progress = progress;
    this.lab = new BenchLab();
    try {
      for (String name : names) {
        contestants.add(lab.seat(name, setting -> entrants.make(name, setting)));
      }
    } catch (RuntimeException e) {
      lab.close();
      throw e;
    }
  }

  public List<Contestant> contestants() {
    return List.copyOf(contestants);
  }

  /// The whole run: memory of each one alone, all started, warm-up, rounds.
  public List<Sample> run() {
    if (parts.contains(Part.MEMORY)) {
      contestants.forEach(this::alone);
    }
    if (parts.contains(Part.START)) {
      started();
    }
    if (EnumSet.of(Part.MEMORY, Part.START).containsAll(parts)) {
      return List.copyOf(samples);
    }
    for (Contestant contestant : contestants) {
      lab.seat(contestant).start();
      check(contestant);
    }
    progress.accept("warming up the load generator");
    Contestant first = contestants.getFirst();
    requests(first, 0, plan.warmMillis());
    connections(first, 0, plan.warmMillis());
    for (int round = 0; round <= plan.rounds(); round++) {
      for (Contestant contestant : order(contestants, round)) {
        turn(contestant, round);
      }
    }
    return List.copyOf(samples);
  }

  /// The second table: wrk, h2load and iperf3 against nginx with real TLS, in rounds of their own.
  public List<Sample> realTls(int rounds) {
    List<Sample> found = new ArrayList<>();
    RealTls tools = new RealTls(lab, plan.connections());
    for (int round = 0; round <= rounds; round++) {
      for (Contestant contestant : order(contestants, round)) {
        lab.seat(contestant).ready();
        List<Sample> turn = tools.turn(contestant, round);
        progress.accept(
            "real TLS, %s %-9s %s"
                .formatted(
                    round == 0 ? "warm-up" : "round " + round,
                    contestant.name(),
                    turn.stream()
                        .map(s -> "%s %.1f".formatted(s.measure().label(), s.value()))
                        .collect(Collectors.joining(", "))));
        if (round > 0) {
          found.addAll(turn);
        }
      }
    }
    return found;
  }

  /// Round r starts one contestant further on, and every second round goes backwards.
  static <T> List<T> order(List<T> all, int round) {
    List<T> ordered = new ArrayList<>(all);
    Collections.rotate(ordered, -round);
    return round % 2 == 0 ? ordered : ordered.reversed();
  }

  /// Round 0 warms up and is not counted.
  private void turn(Contestant contestant, int round) {
    long begun = System.nanoTime();
    lab.seat(contestant).ready();
    try {
      List<String> found = new ArrayList<>();
      if (parts.contains(Part.REQUESTS)) {
        found.add(requests(contestant, round, plan.millis()));
      }
      if (parts.contains(Part.CONNECTIONS)) {
        found.add(connections(contestant, round, plan.millis()));
      }
      if (parts.contains(Part.BULK)) {
        found.add(bulk(contestant, round, true));
        found.add(bulk(contestant, round, false));
      }
      progress.accept(
          "%s %-9s %s (%.1f s)"
              .formatted(
                  round == 0 ? "warm-up" : "round " + round,
                  contestant.name(),
                  String.join(", ", found),
                  (System.nanoTime() - begun) / 1e9));
    } catch (BenchException e) {
      throw new BenchException(contestant.name() + ", round " + round + ": " + e.getMessage(), e);
    }
  }

  private String requests(Contestant contestant, int round, int millis) {
    Fields answer = lab.ask(contestant, timed("requests", contestant, millis), LIMIT);
    double rate = answer.number("count") / answer.decimal("seconds");
    add(round, contestant, Measure.REQUESTS, rate);
    add(round, contestant, Measure.REQUEST_P50, answer.decimal("p50"));
    add(round, contestant, Measure.REQUEST_P99, answer.decimal("p99"));
    double unit = answer.number("count") / 10_000.0;
    add(round, contestant, Measure.REQUEST_CPU, answer.decimal("cpu") / unit);
    add(round, contestant, Measure.REQUEST_MACHINE, answer.decimal("machine") / unit);
    return "%.0f requests/s".formatted(rate);
  }

  private String connections(Contestant contestant, int round, int millis) {
    Fields answer = lab.ask(contestant, timed("connections", contestant, millis), LIMIT);
    double rate = answer.number("count") / answer.decimal("seconds");
    add(round, contestant, Measure.CONNECTIONS, rate);
    add(round, contestant, Measure.CONNECTION_P50, answer.decimal("p50"));
    add(round, contestant, Measure.CONNECTION_P99, answer.decimal("p99"));
    double unit = answer.number("count") / 10_000.0;
    add(round, contestant, Measure.CONNECTION_CPU, answer.decimal("cpu") / unit);
    add(round, contestant, Measure.CONNECTION_MACHINE, answer.decimal("machine") / unit);
    return "%.0f connections/s".formatted(rate);
  }

  private String bulk(Contestant contestant, int round, boolean up) {
    Fields answer =
        lab.ask(
            contestant,
            lab.to(contestant, Fields.of("bulk"))
                .with("mode", up ? "up" : "down")
                .with("connections", Plan.STREAMS)
                .with("bytes", plan.bulkBytes() / Plan.STREAMS)
                .with("checksum", 0),
            LIMIT);
    double gigabytes = answer.number("count") / 1e9;
    double rate = gigabytes * 8 / answer.decimal("seconds");
    add(round, contestant, up ? Measure.UP : Measure.DOWN, rate);
    add(
        round,
        contestant,
        up ? Measure.UP_CPU : Measure.DOWN_CPU,
        answer.decimal("cpu") / gigabytes);
    add(
        round,
        contestant,
        up ? Measure.UP_MACHINE : Measure.DOWN_MACHINE,
        answer.decimal("machine") / gigabytes);
    return "%.1f Gbit/s %s".formatted(rate, up ? "up" : "down");
  }

  private Fields timed(String verb, Contestant contestant, int millis) {
    return lab.to(contestant, Fields.of(verb))
        .with("connections", plan.connections())
        .with("warmMillis", Math.min(300, millis / 3))
        .with("millis", millis);
  }

  /// Before anything is measured: bytes arrive unchanged in both directions.
  private void check(Contestant contestant) {
    lab.seat(contestant).ready();
    for (String mode : List.of("up", "down")) {
      try {
        lab.ask(
            contestant,
            lab.to(contestant, Fields.of("bulk"))
                .with("mode", mode)
                .with("connections", 2)
                .with("bytes", CHECKED_BYTES)
                .with("checksum", 1),
            Duration.ofSeconds(30));
      } catch (BenchException e) {
        throw new BenchException(
            contestant.name() + " does not carry bytes " + mode + " unchanged: " + e.getMessage(),
            e);
      }
    }
  }

  /// What each one is good for right after it has started, alone; round 0 is the generator's.
  private void started() {
    List<Contestant> running = contestants.stream().filter(Contestant::runs).toList();
    for (int round = 0; round <= plan.rounds(); round++) {
      for (Contestant contestant : order(running, round)) {
        Seat seat = lab.seat(contestant);
        seat.start();
        try {
          seat.ready();
          String found = firstConnections(contestant, round);
          progress.accept(
              "%s %-9s %s"
                  .formatted(round == 0 ? "warm-up" : "round " + round, contestant.name(), found));
        } finally {
          seat.stop();
        }
      }
    }
  }

  private String firstConnections(Contestant contestant, int round) {
    Fields answer =
        lab.ask(
            contestant,
            timed("connections", contestant, plan.firstMillis()).with("warmMillis", 0),
            LIMIT);
    double rate = answer.number("count") / answer.decimal("seconds");
    add(round, contestant, Measure.FIRST_CONNECTIONS, rate);
    add(
        round,
        contestant,
        Measure.FIRST_CPU,
        answer.decimal("cpu") / (answer.number("count") / 10_000.0));
    return "%.0f connections/s after the start".formatted(rate);
  }

  /// Memory is looked at while nobody else runs: of a page that several processes share, PSS counts
  /// to each its share.
  private void alone(Contestant contestant) {
    if (!contestant.runs()) {
      return;
    }
    lab.seat(contestant).start();
    try {
      park(plan.restMillis());
      idle(contestant);
      held(contestant);
    } finally {
      lab.seat(contestant).stop();
    }
  }

  private void idle(Contestant contestant) {
    Memory memory = Memory.of(lab.seat(contestant).pids());
    add(1, contestant, Measure.IDLE_PSS, memory.pssKb() / 1000.0);
    add(1, contestant, Measure.IDLE_RSS, memory.rssKb() / 1000.0);
    progress.accept(
        "%s: %.1f MB PSS idle (%s)"
            .formatted(contestant.name(), memory.pssKb() / 1000.0, contestant.version()));
  }

  /// What a held connection adds: the growth from a fifth of them to all, so that what a first
  /// connection costs a fresh process (code, pools) is not spread over the others.
  private void held(Contestant contestant) {
    if (plan.held() == 0) {
      return;
    }
    lab.seat(contestant).ready();
    int some = plan.held() / 5;
    Memory before = hold(contestant, some);
    Memory loaded = hold(contestant, plan.held());
    long alive = lab.ask(contestant, Fields.of("release"), LIMIT).number("count");
    if (alive != plan.held()) {
      throw new BenchException(
          contestant.name() + " kept " + alive + " of " + plan.held() + " held connections");
    }
    double each = (double) (loaded.pssKb() - before.pssKb()) / (plan.held() - some);
    add(1, contestant, Measure.HELD_PSS, each);
    add(1, contestant, Measure.LOADED_PSS, loaded.pssKb() / 1000.0);
    progress.accept(
        "%s: %.1f KB per held connection, %.1f MB PSS with %d"
            .formatted(contestant.name(), each, loaded.pssKb() / 1000.0, plan.held()));
  }

  private Memory hold(Contestant contestant, int connections) {
    lab.ask(
        contestant, lab.to(contestant, Fields.of("hold")).with("connections", connections), LIMIT);
    park(HOLD_MILLIS);
    return Memory.of(lab.seat(contestant).pids());
  }

  private void add(int round, Contestant contestant, Measure measure, double value) {
    if (round > 0) {
      samples.add(new Sample(round, contestant.name(), measure, value));
    }
  }

  private static void park(int millis) {
    LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(millis));
  }

  @Override
  public void close() {
    lab.close();
  }
}
