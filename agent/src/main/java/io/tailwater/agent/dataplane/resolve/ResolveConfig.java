package io.tailwater.agent.dataplane.resolve;

import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/// The `dns:` block as far as look-ups go. `servers` empty means those of the system's resolv.conf;
/// they are the only ones ever asked. Names follow Envoy's DnsCacheConfig where it has one. Strings
/// are read elsewhere; the constructor validates, and reports every problem at once.
///
/// @param hostTtl a name that nobody used for so long is dropped
/// @param maxHosts names in the cache, present and asked for
/// @param maxHostsPerPod names that one pod brought in
/// @param minRefreshRate floor under a record's TTL
/// @param maxTtl ceiling over a record's TTL
/// @param maxStale how long an expired answer may be used when it cannot be refreshed; zero: never
/// @param failureRefreshRate how long a failure is kept, and the pause between retries
/// @param queryTimeout the longest that anybody waits for a name
public record ResolveConfig(
    List<InetSocketAddress> servers,
    LookupFamily lookupFamily,
    Duration hostTtl,
    int maxHosts,
    int maxHostsPerPod,
    Duration minRefreshRate,
    Duration maxTtl,
    Duration maxStale,
    FailureRefreshRate failureRefreshRate,
    Duration queryTimeout) {

  /// Which records are asked for.
  public enum LookupFamily {
    ALL,
    V4,
    V6;

    /// The families, in the order of preference.
    public List<Lookup.Family> families() {
      return switch (this) {
        case ALL -> List.of(Lookup.Family.V6, Lookup.Family.V4);
        case V4 -> List.of(Lookup.Family.V4);
        case V6 -> List.of(Lookup.Family.V6);
      };
    }
  }

  /// Jittered exponential backoff: doubles from `baseInterval` up to `maxInterval`.
  public record FailureRefreshRate(Duration baseInterval, Duration maxInterval) {}

  public ResolveConfig {
    servers = List.copyOf(servers);
    var problems = new ArrayList<String>();
    for (InetSocketAddress server : servers) {
      if (server.isUnresolved()) {
        problems.add("servers: " + server.getHostString() + " is not an address");
      } else if (server.getPort() == 0) {
        problems.add("servers: " + server.getHostString() + " has the port 0");
      }
    }
    atLeast(problems, "hostTtl", hostTtl, Duration.ofSeconds(1));
    atLeast(problems, "maxHosts", maxHosts);
    atLeast(problems, "maxHostsPerPod", maxHostsPerPod);
    atLeast(problems, "minRefreshRate", minRefreshRate, Duration.ofSeconds(1));
    if (maxTtl.compareTo(minRefreshRate) < 0) {
      problems.add("maxTtl: must not be below minRefreshRate (" + text(minRefreshRate) + ")");
    }
    if (maxStale.isNegative()) {
      problems.add("maxStale: must not be negative");
    }
    atLeast(
        problems,
        "failureRefreshRate.baseInterval",
        failureRefreshRate.baseInterval(),
        Duration.ofMillis(1));
    if (failureRefreshRate.maxInterval().compareTo(failureRefreshRate.baseInterval()) < 0) {
      problems.add("failureRefreshRate.maxInterval: must not be below baseInterval");
    }
    atLeast(problems, "queryTimeout", queryTimeout, Duration.ofMillis(1));
    for (Duration d : List.of(hostTtl, maxTtl, maxStale, failureRefreshRate.maxInterval())) {
      if (d.compareTo(LONGEST) > 0) {
        problems.add("a duration of " + d.toDays() + " days is too long; at most 365");
      }
    }
    if (queryTimeout.compareTo(Duration.ofMinutes(5)) > 0) {
      problems.add("queryTimeout: must be at most 5m");
    }
    if (!problems.isEmpty()) {
      throw new IllegalArgumentException("dns: " + String.join("; dns: ", problems));
    }
  }

  /// Keeps sums of durations far from the end of a `long` of nanoseconds.
  private static final Duration LONGEST = Duration.ofDays(365);

  /// What holds where nothing is written.
  public static ResolveConfig defaults() {
    return new ResolveConfig(
        List.of(),
        LookupFamily.ALL,
        Duration.ofMinutes(5),
        10_000,
        1_000,
        Duration.ofSeconds(5),
        Duration.ofHours(1),
        Duration.ofMinutes(5),
        new FailureRefreshRate(Duration.ofSeconds(1), Duration.ofSeconds(30)),
        Duration.ofSeconds(5));
  }

  private static void atLeast(List<String> problems, String key, Duration value, Duration least) {
    if (value.compareTo(least) < 0) {
      problems.add(key + ": must be at least " + text(least));
    }
  }

  private static void atLeast(List<String> problems, String key, int value) {
    if (value < 1) {
      problems.add(key + ": must be at least 1");
    }
  }

  private static String text(Duration d) {
    return d.toMillis() % 1000 == 0 ? d.toSeconds() + "s" : d.toMillis() + "ms";
  }
}
