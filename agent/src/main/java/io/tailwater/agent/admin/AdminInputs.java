package io.tailwater.agent.admin;

import io.tailwater.agent.config.AgentConfig;
import io.tailwater.agent.control.capture.CapturedPods;
import io.tailwater.agent.dataplane.account.Accounts;
import io.tailwater.agent.dataplane.flow.LiveConnections;
import io.tailwater.agent.dataplane.resolve.ResolveStats;
import io.tailwater.agent.dataplane.route.CurrentRoutes;
import io.tailwater.agent.dataplane.upstream.Clusters;
import java.util.SortedSet;
import java.util.function.Supplier;

/// What the pages are made from. Every part may be asked on any thread.
///
/// @param pending names of what readiness waits for; empty is ready
public record AdminInputs(
    AgentConfig config,
    BuildInfo build,
    Clusters clusters,
    LiveConnections live,
    CapturedPods pods,
    Accounts accounts,
    CurrentRoutes routes,
    ResolveStats dns,
    Supplier<SortedSet<String>> pending,
    Drain drain,
    Explain explain) {

  /// Lets go of the pods.
  public interface Drain {
    /// Begins to drain and returns at once; with `uninstall` every rule is removed. A second call
    /// is a no-op.
    void begin(boolean uninstall);

    boolean draining();
  }

  /// Answers `/explain`; parameters `from`, `to`, `sni`, `host`, `label`, `resolve`, `format`.
  public interface Explain {
    Response explain(Request request);
  }
}
