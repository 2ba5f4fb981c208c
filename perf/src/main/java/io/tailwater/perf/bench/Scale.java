package io.tailwater.perf.bench;

import io.tailwater.lab.Place;
import io.tailwater.perf.load.Fields;
import io.tailwater.perf.measure.Memory;
import io.tailwater.perf.peer.BenchException;
import io.tailwater.perf.peer.Contestant;
import io.tailwater.perf.peer.Entrants;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/// Measures the agent at one point of an axis, in a lab made for it: how long it takes to begin,
/// what it needs at rest and loaded, and how fast it is then. One thread.
public final class Scale {
  private static final Duration LIMIT = Duration.ofMinutes(2);
  private static final Duration START = Duration.ofSeconds(90);

  private final Plan plan;
  private final Entrants entrants;

  public Scale(Plan plan, Entrants entrants) {
    this.plan = plan;
    this.entrants = entrants;
  }

  /// One visit.
  ///
  /// @throws BenchException when connections fail or are lost
  public Map<Measure, Double> visit(ScalePoint point) {
    try (BenchLab lab = new BenchLab(point.holders())) {
      List<Place> further = new ArrayList<>();
      for (int i = 1; i < point.pods(); i++) {
        further.add(lab.pod("pod-" + i));
      }
      Contestant agent =
          lab.seat(
              point.grade(),
              setting -> entrants.agent(point.grade(), setting, further, point.entries()));
      List<LoadProcess> clients = new ArrayList<>(List.of(lab.seat(agent).client()));
      try {
        for (int i = 1; i < point.holders(); i++) {
          clients.add(new LoadProcess(lab.lab(), further.get(i - 1), "LoadClient"));
        }
        return measure(point, lab, agent, further, clients);
      } finally {
        clients.subList(1, clients.size()).forEach(LoadProcess::close);
      }
    }
  }

  private Map<Measure, Double> measure(
      ScalePoint point,
      BenchLab lab,
      Contestant agent,
      List<Place> further,
      List<LoadProcess> clients) {
    Map<Measure, Double> found = new EnumMap<>(Measure.class);
    Seat seat = lab.seat(agent);
    long begun = System.nanoTime();
    seat.start();
    for (Place pod : further) {
      seat.awaitRules(pod, begun + START.toNanos());
    }
    found.put(Measure.START, (System.nanoTime() - begun) / 1e9);
    LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(plan.restMillis()));
    double idle = Memory.of(seat.pids()).pssKb();
    found.put(Measure.IDLE_PSS, idle / 1000);
    seat.ready();
    for (int i = 1; i < point.holders(); i++) {
      seat.ask(further.get(i - 1));
    }
    hold(point, lab, agent, clients);
    double loaded = Memory.of(seat.pids()).pssKb();
    if (point.held() > 0) {
      found.put(Measure.LOADED_PSS, loaded / 1000);
    }
    requests(lab, agent, found);
    connections(lab, agent, found);
    for (int i = 0; i < point.shares().length && point.held() > 0; i++) {
      long alive = clients.get(i).ask(Fields.of("release"), LIMIT).number("count");
      if (alive != point.shares()[i]) {
        throw new BenchException(
            "%s kept %d of %d held connections".formatted(point.grade(), alive, point.shares()[i]));
      }
    }
    return found;
  }

  private static void hold(
      ScalePoint point, BenchLab lab, Contestant agent, List<LoadProcess> clients) {
    for (int i = 0; i < point.shares().length && point.held() > 0; i++) {
      clients
          .get(i)
          .ask(lab.to(agent, Fields.of("hold")).with("connections", point.shares()[i]), LIMIT);
    }
  }

  private void requests(BenchLab lab, Contestant agent, Map<Measure, Double> found) {
    Fields answer = lab.ask(agent, timed(lab, "requests", agent), LIMIT);
    found.put(Measure.REQUESTS, answer.number("count") / answer.decimal("seconds"));
    found.put(Measure.REQUEST_P99, answer.decimal("p99"));
  }

  private void connections(BenchLab lab, Contestant agent, Map<Measure, Double> found) {
    Fields answer = lab.ask(agent, timed(lab, "connections", agent), LIMIT);
    found.put(Measure.CONNECTIONS, answer.number("count") / answer.decimal("seconds"));
    found.put(Measure.CONNECTION_P99, answer.decimal("p99"));
    found.put(Measure.CONNECTION_CPU, answer.decimal("cpu") / (answer.number("count") / 10_000.0));
  }

  private Fields timed(BenchLab lab, String verb, Contestant agent) {
    return lab.to(agent, Fields.of(verb))
        .with("connections", plan.connections())
        .with("warmMillis", Math.min(300, plan.millis() / 3))
        .with("millis", plan.millis());
  }
}
