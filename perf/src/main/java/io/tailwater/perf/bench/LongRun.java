package io.tailwater.perf.bench;

import io.tailwater.perf.load.Fields;
import io.tailwater.perf.measure.Footprint;
import io.tailwater.perf.peer.BenchException;
import io.tailwater.perf.peer.Contestant;
import io.tailwater.perf.peer.Entrants;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;

/// Agents under load for a long time, in turns, each with connections that it holds from beginning
/// to end. One thread.
public final class LongRun {
  /// Held by each agent all the time.
  public static final int HELD = 1000;

  private static final Duration LIMIT = Duration.ofMinutes(2);

  /// After a turn, before the look at what is taken up: ends are noticed, buffers come back.
  private static final long REST_MILLIS = 2000;

  private final Plan plan;
  private final Entrants entrants;
  private final List<String> grades;

  /// @param plan how long a part of a turn is, and how many connections are busy in it
  public LongRun(Plan plan, Entrants entrants, List<String> grades) {
    this.plan = plan;
    this.entrants = entrants;
    this.grades = List.copyOf(grades);
  }

  /// Takes turns until the time is over; each agent has at least one.
  ///
  /// @throws BenchException when a connection fails, or a held one is lost
  public void run(Duration time, Consumer<Lap> told) {
    try (BenchLab lab = new BenchLab()) {
      List<Contestant> agents = new ArrayList<>();
      for (String grade : grades) {
        agents.add(lab.seat(grade, setting -> entrants.make(grade, setting)));
      }
      for (Contestant agent : agents) {
        lab.seat(agent).start();
        lab.seat(agent).ready();
        lab.ask(agent, lab.to(agent, Fields.of("hold").with("connections", HELD)), LIMIT);
      }
      long begun = System.nanoTime();
      do {
        for (Contestant agent : agents) {
          told.accept(lap(lab, agent, begun));
        }
      } while (System.nanoTime() - begun < time.toNanos());
      for (Contestant agent : agents) {
        long alive = lab.ask(agent, Fields.of("release"), LIMIT).number("count");
        if (alive != HELD) {
          throw new BenchException(
              "%s kept %d of %d held connections".formatted(agent.name(), alive, HELD));
        }
      }
    }
  }

  private Lap lap(BenchLab lab, Contestant agent, long begun) {
    Seat seat = lab.seat(agent);
    seat.ready();
    Fields connections = lab.ask(agent, timed(lab, "connections", agent), LIMIT);
    Fields requests = lab.ask(agent, timed(lab, "requests", agent), LIMIT);
    LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(REST_MILLIS));
    return new Lap(
        agent.name(),
        (System.nanoTime() - begun) / 60e9,
        connections.number("count"),
        connections.number("count") / connections.decimal("seconds"),
        requests.number("count"),
        requests.number("count") / requests.decimal("seconds"),
        requests.decimal("p99"),
        Footprint.of(seat.pids()));
  }

  private Fields timed(BenchLab lab, String verb, Contestant agent) {
    return lab.to(agent, Fields.of(verb))
        .with("connections", plan.connections())
        .with("warmMillis", 0)
        .with("millis", plan.millis());
  }
}
