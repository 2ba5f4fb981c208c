package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;

/// What is configured for a destination, before a connection asks for it. Where nothing depends on
/// the connection the decision is made beforehand.
public sealed interface Action {
  /// The configured destination.
  Decision.Destination to();

  /// The resource that configures it.
  ResourceRef resource();

  /// A fixed decision, for enforcement and for audit.
  record Go(Decision.Forward enforced, Decision.Forward audited) implements Action {
    public static Go of(
        Decision.Destination to,
        String upstreamHost,
        Target target,
        AddressRule rule,
        ResourceRef resource) {
      return new Go(
          new Decision.Forward(to, upstreamHost, target, rule, resource, false),
          new Decision.Forward(to, upstreamHost, target, rule, resource, true));
    }

    @Override
    public Decision.Destination to() {
      return enforced.to();
    }

    @Override
    public ResourceRef resource() {
      return enforced.resource();
    }
  }

  /// Goes to what the name that the client asked for resolves to (DYNAMIC_DNS).
  record ByName(Decision.Destination to, AddressRule rule, ResourceRef resource)
      implements Action {}

  /// Goes to the dialled address under a wildcard: only the name shown depends on the connection.
  record ToDialled(Decision.Destination to, Target target, AddressRule rule, ResourceRef resource)
      implements Action {}

  /// Is known and cannot be reached, whatever the mode.
  record CannotReach(Decision.Destination to, Refusal why, ResourceRef resource)
      implements Action {}

  /// Is governed by something that this version does not honour; `what` names it.
  record NotHonoured(Decision.Destination to, String what, ResourceRef resource)
      implements Action {}
}
