package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.ResourceRef;
import java.util.List;

/// A decision with the candidates that lost, for people. Pure; made on the slow path only. Where
/// weights choose, `weighted` has all that may be chosen and `decision` is the first of them.
public record Explanation(Decision decision, List<Weighted> weighted, List<Considered> considered) {
  public Explanation {
    weighted = List.copyOf(weighted);
    considered = List.copyOf(considered);
  }

  public Explanation(Decision decision, List<Considered> considered) {
    this(decision, List.of(), considered);
  }

  /// One that weights may choose.
  public record Weighted(int weight, Decision decision) {}

  /// A resource that names the destination and did not decide; `why` is a clause: "is less
  /// specific".
  public record Considered(ResourceRef resource, String host, String why) {}
}
