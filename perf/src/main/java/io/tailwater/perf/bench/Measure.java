package io.tailwater.perf.bench;

/// Everything that is measured, with its unit and how many decimals it deserves. "Proxy" CPU is
/// user and system time of the contestant's processes; "machine" CPU is all that was not idle, load
/// generator included.
public enum Measure {
  REQUESTS("requests/s", "requests/s, kept connections", 0, true),
  REQUEST_P50("request p50 µs", "p50 of a request, µs", 0, false),
  REQUEST_P99("request p99 µs", "p99 of a request, µs", 0, false),
  REQUEST_CPU("CPU s / 10k requests", "proxy CPU s per 10k requests", 3, false),
  REQUEST_MACHINE("machine s / 10k requests", "machine CPU s per 10k requests", 3, false),
  CONNECTIONS("connections/s", "new connections/s", 0, true),
  CONNECTION_P50("connection p50 µs", "p50 of a whole connection, µs", 0, false),
  CONNECTION_P99("connection p99 µs", "p99 of a whole connection, µs", 0, false),
  CONNECTION_CPU("CPU s / 10k connections", "proxy CPU s per 10k new connections", 2, false),
  CONNECTION_MACHINE(
      "machine s / 10k connections", "machine CPU s per 10k new connections", 2, false),
  FIRST_CONNECTIONS(
      "first connections/s", "new connections/s in the first 10 s after the start", 0, true),
  FIRST_CPU(
      "CPU s / 10k first connections", "proxy CPU s per 10k of these, without the start", 2, false),
  UP("Gbit/s up", "Gbit/s up", 1, true),
  UP_CPU("CPU s / GB up", "proxy CPU s per GB up", 2, false),
  UP_MACHINE("machine s / GB up", "machine CPU s per GB up", 2, false),
  DOWN("Gbit/s down", "Gbit/s down", 1, true),
  DOWN_CPU("CPU s / GB down", "proxy CPU s per GB down", 2, false),
  DOWN_MACHINE("machine s / GB down", "machine CPU s per GB down", 2, false),
  IDLE_PSS("idle PSS MB", "memory idle, PSS MB", 1, false),
  START("start s", "seconds from start until all pods are captured", 2, false),
  IDLE_RSS("idle RSS MB", "memory idle, RSS MB", 1, false),
  HELD_PSS("held KB", "KB (PSS) per held connection", 1, false),
  LOADED_PSS("loaded PSS MB", "memory with all connections held, PSS MB", 1, false),

  WRK_REQUESTS("wrk requests/s", "wrk, HTTPS requests/s, kept connections", 0, true),
  WRK_P99("wrk p99 µs", "wrk, p99 of a request, µs", 0, false),
  H2LOAD_REQUESTS("h2load requests/s", "h2load, HTTP/2 requests/s, 10 streams each", 0, true),
  WRK_CONNECTIONS(
      "wrk connections/s", "wrk, one request per TLS connection, connections/s", 0, true),
  WRK_DOWN("wrk Gbit/s", "wrk, Gbit/s down over TLS", 1, true),
  IPERF_UP("iperf3 Gbit/s up", "iperf3, plain TCP, Gbit/s up", 1, true),
  IPERF_DOWN("iperf3 Gbit/s down", "iperf3, plain TCP, Gbit/s down", 1, true);

  private final String label;
  private final String title;
  private final int decimals;
  private final boolean moreIsBetter;

  Measure(String label, String title, int decimals, boolean moreIsBetter) {
    this.label = label;
    this.title = title;
    this.decimals = decimals;
    this.moreIsBetter = moreIsBetter;
  }

  /// Short, for the axis of a picture.
  public String label() {
    return label;
  }

  /// For the row of a table.
  public String title() {
    return title;
  }

  public int decimals() {
    return decimals;
  }

  /// Whether it belongs to the second table: other people's tools over real TLS.
  public boolean realTls() {
    return compareTo(LOADED_PSS) > 0;
  }

  public boolean moreIsBetter() {
    return moreIsBetter;
  }
}
