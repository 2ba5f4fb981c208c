package io.tailwater.agent.dataplane.http;

import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.traffic.Refusal;

/// Decides requests: policy, as this room sees it. On the loop of the client's connection.
public interface Upstreams {
  /// Where a request goes. Called exactly once per request, before anything of it is sent on.
  Routed route(Request request);

  /// The answer for one request.
  sealed interface Routed {
    /// It goes there.
    record To(Upstream upstream) implements Routed {}

    /// It does not go anywhere; `detail` is for people and may be empty.
    record Refused(Refusal why, String detail, Decision decision) implements Routed {}
  }
}
