package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.ResourceRef;
import java.util.List;
import java.util.Optional;

/// A decision with the candidates that lost, for people. Pure; made on the slow path only. Where
/// weights choose, `weighted` has all that may be chosen and `decision` is the first of them.
///
/// @param applied the rules that have a say in it
/// @param remedy what would allow it, where that is not a ServiceEntry alone
public record Explanation(
    Decision decision,
    List<Weighted> weighted,
    List<Considered> considered,
    List<Applied> applied,
    Optional<Remedy> remedy) {
  public Explanation {
    weighted = List.copyOf(weighted);
    considered = List.copyOf(considered);
    applied = List.copyOf(applied);
  }

  public Explanation(Decision decision, List<Considered> considered) {
    this(decision, List.of(), considered, List.of(), Optional.empty());
  }

  /// A DestinationRule, VirtualService or Sidecar, and what it does, as a clause: "sets tls".
  public record Applied(ResourceRef resource, String host, String what) {}

  /// One that weights may choose.
  public record Weighted(int weight, Decision decision) {}

  /// A resource that names the destination and did not decide; `why` is a clause: "is less
  /// specific".
  public record Considered(ResourceRef resource, String host, String why) {}
}
