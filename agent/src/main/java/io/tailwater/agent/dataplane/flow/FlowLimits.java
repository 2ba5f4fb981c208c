package io.tailwater.agent.dataplane.flow;

import io.tailwater.agent.dataplane.http.HttpLimits;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/// The bounds of connections, `limits:` in the configuration. `connections` 0 means: what the
/// process's descriptors allow.
public record FlowLimits(
    int connections,
    int connectionsPerPod,
    int pendingHandshakes,
    int clientHelloBytes,
    Duration clientHelloTime,
    Duration connectTimeout,
    Duration idleTimeout) {
  /// As good as never, and few enough nanoseconds for a timer.
  private static final Duration NEVER = Duration.ofDays(3650);

  /// The defaults of the configuration's reference.
  public static final FlowLimits DEFAULTS =
      new FlowLimits(
          0,
          5000,
          1000,
          16384,
          Duration.ofSeconds(10),
          Duration.ofSeconds(10),
          Duration.ofHours(1));

  public FlowLimits {
    List<String> wrong = new ArrayList<>();
    check(wrong, connections >= 0, "connections must be auto or at least 1");
    check(wrong, connectionsPerPod >= 1, "connectionsPerPod must be at least 1");
    check(wrong, pendingHandshakes >= 1, "pendingHandshakes must be at least 1");
    check(
        wrong,
        clientHelloBytes >= 512 && clientHelloBytes <= 16384,
        "clientHelloBytes must be 512 to 16384");
    check(wrong, positive(clientHelloTime), "clientHelloTime must be more than 0s");
    check(wrong, positive(connectTimeout), "connectTimeout must be more than 0s");
    check(wrong, !idleTimeout.isNegative(), "idleTimeout must be 0s (never) or more");
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException(String.join("; ", wrong));
    }
  }

  /// Of a connection that speaks HTTP.
  HttpLimits http() {
    HttpLimits usual = HttpLimits.DEFAULT;
    return new HttpLimits(
        usual.headBytes(),
        usual.headFields(),
        clientHelloTime,
        idleTimeout.isZero() ? NEVER : idleTimeout,
        usual.upstreamIdleTime(),
        usual.upstreamIdle(),
        usual.streams());
  }

  private static boolean positive(Duration d) {
    return !d.isNegative() && !d.isZero();
  }

  private static void check(List<String> wrong, boolean ok, String problem) {
    if (!ok) {
      wrong.add(problem);
    }
  }
}
