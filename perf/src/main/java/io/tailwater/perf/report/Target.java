package io.tailwater.perf.report;

import io.tailwater.perf.bench.Measure;
import io.tailwater.perf.measure.Quartiles;
import io.tailwater.perf.peer.Contestant;
import java.util.List;
import java.util.Optional;

/// What a grade is to reach: a bound on a figure, or on its ratio to another contestant's within
/// each round.
///
/// @param base to whom it is compared; empty for the figure itself
/// @param beyondDirect compare what each needs on top of the direct connection, not the whole
record Target(
    String contestant,
    Measure measure,
    String base,
    boolean beyondDirect,
    boolean atLeast,
    double bound) {
  /// Fewer rounds say nothing for certain.
  static final int ROUNDS = 9;

  enum Verdict {
    MET("met"),
    MISSED("missed"),
    NOISE("within noise");

    private final String word;

    Verdict(String word) {
      this.word = word;
    }

    @Override
    public String toString() {
      return word;
    }
  }

  private static Target over(
      String contestant, Measure measure, String base, boolean atLeast, double bound) {
    return new Target(contestant, measure, base, false, atLeast, bound);
  }

  private static Target figure(String contestant, Measure measure, double bound) {
    return new Target(contestant, measure, "", false, false, bound);
  }

  private static Target beyond(String contestant, Measure measure, double bound) {
    return new Target(contestant, measure, "envoy", true, false, bound);
  }

  /// All of them.
  static final List<Target> ALL =
      List.of(
          over("kernel", Measure.REQUESTS, "tracked", true, 0.95),
          over("kernel", Measure.REQUESTS, "envoy", true, 2.3),
          over("kernel", Measure.CONNECTIONS, Contestant.DIRECT, true, 0.9),
          over("kernel", Measure.CONNECTIONS, "envoy", true, 2.2),
          over("kernel", Measure.UP, Contestant.DIRECT, true, 0.9),
          over("kernel", Measure.DOWN, Contestant.DIRECT, true, 0.9),
          over("kernel", Measure.UP_MACHINE, Contestant.DIRECT, false, 1.15),
          over("kernel", Measure.DOWN_MACHINE, Contestant.DIRECT, false, 1.15),
          figure("kernel", Measure.CONNECTION_CPU, 0.4),
          figure("kernel", Measure.REQUEST_CPU, 0.001),
          over("kernel", Measure.REQUEST_P99, Contestant.DIRECT, false, 1.2),
          figure("kernel", Measure.IDLE_PSS, 80),
          over("splice", Measure.REQUESTS, "nginx", true, 1),
          over("splice", Measure.CONNECTIONS, "envoy", true, 1.5),
          over("splice", Measure.FIRST_CONNECTIONS, "envoy", true, 1.2),
          over("splice", Measure.UP, "envoy", true, 1),
          over("splice", Measure.DOWN, "envoy", true, 1),
          beyond("splice", Measure.UP_MACHINE, 0.65),
          beyond("splice", Measure.DOWN_MACHINE, 0.65),
          over("splice", Measure.CONNECTION_CPU, "envoy", false, 0.55),
          over("splice", Measure.REQUEST_CPU, "nginx", false, 1),
          over("splice", Measure.REQUEST_P99, "nginx", false, 1),
          figure("splice", Measure.IDLE_PSS, 80),
          figure("splice", Measure.HELD_PSS, 6));

  /// What was reached; empty if one of those it speaks of was not measured.
  Optional<Quartiles> reached(Summary summary) {
    if (base.isEmpty()) {
      return summary.value(contestant, measure);
    }
    return beyondDirect
        ? summary.ratioBeyond(contestant, base, Contestant.DIRECT, measure)
        : summary.ratio(contestant, base, measure);
  }

  /// Met when the worse quartile meets it, missed when not even the better one does.
  Verdict verdict(Quartiles reached) {
    double worse = atLeast ? reached.lower() : reached.upper();
    double better = atLeast ? reached.upper() : reached.lower();
    return meets(worse) ? Verdict.MET : meets(better) ? Verdict.NOISE : Verdict.MISSED;
  }

  private boolean meets(double value) {
    return atLeast ? value >= bound : value <= bound;
  }

  /// The bound in words.
  String wanted() {
    String sign = (atLeast ? "≥ " : "≤ ") + Report.number(bound, bound < 0.01 ? 3 : 2);
    if (base.isEmpty()) {
      return sign;
    }
    return sign + " x " + base + (beyondDirect ? ", each beyond direct" : "");
  }
}
