package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.ResourceRef;
import java.util.List;

/// A decision with the candidates that lost, for people. Pure; made on the slow path only.
public record Explanation(Decision decision, List<Considered> considered) {
  public Explanation {
    considered = List.copyOf(considered);
  }

  /// A resource that names the destination and did not decide; `why` is a clause: "is less
  /// specific".
  public record Considered(ResourceRef resource, String host, String why) {}
}
