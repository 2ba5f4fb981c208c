package io.tailwater.perf.measure;

/// Latencies in buckets of one microsecond up to 100 ms; what is longer counts as 100 ms. Adding
/// costs one array increment and no allocation. One thread.
public final class Latencies {
  private static final int LIMIT = 100_000;

  private final int[] buckets = new int[LIMIT + 1];
  private long count;

  public void add(long nanos) {
    buckets[Math.clamp(nanos / 1000, 0, LIMIT)]++;
    count++;
  }

  public void clear() {
    java.util.Arrays.fill(buckets, 0);
    count = 0;
  }

  public long count() {
    return count;
  }

  /// The smallest number of microseconds that at least `share` (0..1] of the latencies do not
  /// exceed; 0 if there are none.
  public long percentile(double share) {
    if (share <= 0 || share > 1) {
      throw new IllegalArgumentException("share " + share + " is outside 0..1");
    }
    long wanted = (long) Math.ceil(share * count);
    long seen = 0;
    for (int micros = 0; micros <= LIMIT && wanted > 0; micros++) {
      seen += buckets[micros];
      if (seen >= wanted) {
        return micros;
      }
    }
    return 0;
  }
}
