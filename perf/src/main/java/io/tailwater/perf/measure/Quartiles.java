package io.tailwater.perf.measure;

import java.util.List;

/// Median and quartiles of some rounds, by linear interpolation between the ordered values (the
/// method that spreadsheets and NumPy use by default).
public record Quartiles(double lower, double median, double upper) {
  /// @throws IllegalArgumentException if there is no value
  public static Quartiles of(List<Double> values) {
    if (values.isEmpty()) {
      throw new IllegalArgumentException("no values");
    }
    List<Double> sorted = values.stream().sorted().toList();
    return new Quartiles(at(sorted, 0.25), at(sorted, 0.5), at(sorted, 0.75));
  }

  private static double at(List<Double> sorted, double share) {
    double position = share * (sorted.size() - 1);
    int below = (int) Math.floor(position);
    int above = Math.min(below + 1, sorted.size() - 1);
    return sorted.get(below) + (sorted.get(above) - sorted.get(below)) * (position - below);
  }
}
