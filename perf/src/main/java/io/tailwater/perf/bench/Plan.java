package io.tailwater.perf.bench;

/// How much is measured: counted rounds, milliseconds of a timed run, bytes per direction of a bulk
/// run, connections kept busy, connections held for the memory figure, and milliseconds for which
/// the generator itself is warmed up.
///
/// @param bulkBytes of all streams of one direction together
/// @param restMillis between the start of a process and the look at its idle memory
/// @param firstMillis that count as the first after a start
public record Plan(
    int rounds,
    int millis,
    long bulkBytes,
    int connections,
    int held,
    int warmMillis,
    int restMillis,
    int firstMillis) {
  /// A process at rest is what a node carries all day, not one that has just started.
  private static final int REST_MILLIS = 12_000;

  private static final int FIRST_MILLIS = 10_000;

  /// Bytes of one message, each way.
  public static final int MESSAGE = 128;

  /// Connections a bulk run is spread over, so that proxies with two threads can use both.
  public static final int STREAMS = 4;

  public Plan {
    if (rounds < 1 || millis < 10 || bulkBytes < 1 || connections < 1 || held < 0) {
      throw new IllegalArgumentException("rounds, times and counts are at least one");
    }
    if (held > 9000) {
      throw new IllegalArgumentException(
          "a proxy needs two descriptors for a held connection and has 20,000: at most 9000");
    }
  }

  /// About ten minutes with five contestants.
  public static Plan full() {
    return new Plan(9, 1800, 3_000_000_000L, 32, 5000, 4000, REST_MILLIS, FIRST_MILLIS);
  }

  /// About two minutes, less on a quiet machine, with five contestants.
  public static Plan quick() {
    return new Plan(3, 600, 800_000_000L, 32, 5000, 1500, REST_MILLIS, FIRST_MILLIS);
  }

  /// One visit to a point of an axis.
  public static Plan visit() {
    return new Plan(1, 1200, 1, 32, 0, 0, REST_MILLIS, FIRST_MILLIS);
  }

  /// One turn of a long run.
  public static Plan turn() {
    return new Plan(1, 8000, 1, 32, 0, 0, REST_MILLIS, FIRST_MILLIS);
  }

  public Plan withRounds(int count) {
    return new Plan(
        count, millis, bulkBytes, connections, held, warmMillis, restMillis, firstMillis);
  }
}
