package io.tailwater.agent.node;

import io.tailwater.agent.control.compile.PolicyCompiler;
import io.tailwater.agent.control.source.Problem;
import io.tailwater.agent.dataplane.account.Metrics;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;

/// How loading policy went, for the metrics page. Written under the feed's lock, read by scrapes.
final class PolicyStats {
  private final LongAdder clean = new LongAdder();
  private final LongAdder withErrors = new LongAdder();
  private volatile long errors;
  private volatile long warnings;
  private volatile long unusedWaypoints;

  void register(Metrics metrics) {
    metrics.counters(
        "tailwater_policy_loads",
        "How often policy was compiled; with errors, the resources that have them are left out.",
        "result",
        () -> Map.of("ok", clean.sum(), "errors", withErrors.sum()));
    metrics.gauges(
        "tailwater_policy_problems",
        "Problems of the resources in force.",
        "severity",
        () -> Map.of("error", errors, "warning", warnings));
    metrics.gauge(
        "tailwater_waypoints_unused",
        "Kubernetes Services and workloads whose waypoint cannot be used; they go without it.",
        () -> unusedWaypoints);
  }

  void published(PolicyCompiler.Compiled compiled) {
    (compiled.hasErrors() ? withErrors : clean).increment();
    errors = compiled.problems().stream().filter(Problem::isError).count();
    warnings = compiled.problems().size() - errors;
    unusedWaypoints = compiled.table().unusedWaypoints();
  }
}
