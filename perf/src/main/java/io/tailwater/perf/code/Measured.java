package io.tailwater.perf.code;

/// One benchmark of code.
///
/// @param error half the 99.9 % confidence interval, nanoseconds
/// @param bytes allocated for each call
public record Measured(String name, double nanos, double error, double bytes) {
  public static final String TABLE_HEAD =
      "| what (JMH, the same flags) | ns | ± | bytes allocated |\n|---|---:|---:|---:|\n";

  public String row() {
    return "| %s | %,.0f | %,.0f | %,.0f |\n".formatted(name, nanos, error, bytes);
  }
}
