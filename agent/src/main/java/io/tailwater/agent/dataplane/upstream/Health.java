package io.tailwater.agent.dataplane.upstream;

import io.tailwater.agent.dataplane.route.OutlierDetection;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/// When an endpoint was last ejected, and how often. Immutable. A matter of time alone: nobody has
/// to come by to let it in again.
///
/// @param untilNanos it rests until then
/// @param times how many ejections its rest was counted by
/// @param intervalNanos how long it must behave for one of them to be forgotten
record Health(long untilNanos, int times, long intervalNanos) {
  /// Envoy's `max_ejection_time`, unless the base time is longer.
  private static final Duration LONGEST = Duration.ofMinutes(5);

  boolean ejected(long nowNanos) {
    return untilNanos - nowNanos > 0;
  }

  /// The ejections that still count: one is forgotten with each interval of good behaviour, as
  /// Envoy does.
  private int timesLeft(long nowNanos) {
    long behaved = Math.max(0, nowNanos - untilNanos) / Math.max(1, intervalNanos);
    return (int) Math.max(0, times - behaved);
  }

  /// Ejected now, for the base time times the number of ejections. Endpoints are looked at in each
  /// interval, so the rest ends with one, counted from `epochNanos`.
  static Health eject(
      @Nullable Health before, OutlierDetection rule, long epochNanos, long nowNanos) {
    int times = (before == null ? 0 : before.timesLeft(nowNanos)) + 1;
    long base = rule.baseEjectionTime().toNanos();
    long longest = Math.max(base, LONGEST.toNanos());
    long rest = base > longest / times ? longest : base * times;
    long interval = Math.max(1, rule.interval().toNanos());
    long since = nowNanos + rest - epochNanos;
    long until = epochNanos + (since + interval - 1) / interval * interval;
    return new Health(until, times, interval);
  }
}
