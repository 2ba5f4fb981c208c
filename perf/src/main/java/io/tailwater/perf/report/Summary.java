package io.tailwater.perf.report;

import io.tailwater.perf.bench.Measure;
import io.tailwater.perf.bench.Sample;
import io.tailwater.perf.measure.Quartiles;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/// Medians of the rounds, and ratios: the quotient is taken within each round and then summed up,
/// so that what slowed down a whole round does not count.
public final class Summary {
  private final List<Sample> samples;

  public Summary(List<Sample> samples) {
    this.samples = List.copyOf(samples);
  }

  /// What one contestant reached in one measure; empty if it was not measured.
  public Optional<Quartiles> value(String contestant, Measure measure) {
    return quartiles(List.copyOf(byRound(contestant, measure).values()));
  }

  /// One contestant over another in the rounds that both have; empty if there are none, or the
  /// other has a zero.
  public Optional<Quartiles> ratio(String contestant, String base, Measure measure) {
    Map<Integer, Double> bases = byRound(base, measure);
    List<Double> ratios = new ArrayList<>();
    for (Map.Entry<Integer, Double> entry : byRound(contestant, measure).entrySet()) {
      Double other = bases.get(entry.getKey());
      if (other != null && other > 0) {
        ratios.add(entry.getValue() / other);
      }
    }
    return quartiles(ratios);
  }

  /// The same of what each has beyond a third: what a proxy costs on top of no proxy.
  public Optional<Quartiles> ratioBeyond(
      String contestant, String base, String least, Measure measure) {
    Map<Integer, Double> own = byRound(contestant, measure);
    Map<Integer, Double> bases = byRound(base, measure);
    Map<Integer, Double> leasts = byRound(least, measure);
    List<Double> ratios = new ArrayList<>();
    for (Map.Entry<Integer, Double> entry : own.entrySet()) {
      Double other = bases.get(entry.getKey());
      Double ground = leasts.get(entry.getKey());
      if (other != null && ground != null && other > ground) {
        ratios.add((entry.getValue() - ground) / (other - ground));
      }
    }
    return quartiles(ratios);
  }

  private Map<Integer, Double> byRound(String contestant, Measure measure) {
    return samples.stream()
        .filter(sample -> sample.contestant().equals(contestant) && sample.measure() == measure)
        .collect(Collectors.toMap(Sample::round, Sample::value));
  }

  private static Optional<Quartiles> quartiles(List<Double> values) {
    return values.isEmpty() ? Optional.empty() : Optional.of(Quartiles.of(values));
  }
}
