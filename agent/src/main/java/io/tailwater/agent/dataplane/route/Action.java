package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.OriginalDst;
import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// What is configured for a destination, before a connection asks for it. Where nothing depends on
/// the connection the decision is made beforehand.
public sealed interface Action {
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
    public ResourceRef resource() {
      return enforced.resource();
    }
  }

  /// Goes to what the name that the client asked for resolves to (DYNAMIC_DNS). A request may also
  /// ask for one of `hostPorts` in its Host; any other port there is not dialled. Where `anyPort`
  /// holds, every port is.
  record ByName(
      Decision.ByName enforced, Decision.ByName audited, List<Integer> hostPorts, boolean anyPort)
      implements Action {
    public ByName {
      hostPorts = List.copyOf(hostPorts);
    }

    /// @param port what is dialled where the client names no port
    public static ByName of(
        Decision.Destination to,
        int port,
        List<Integer> hostPorts,
        AddressRule rule,
        ResourceRef resource) {
      return new ByName(
          new Decision.ByName(to, port, rule, resource, false),
          new Decision.ByName(to, port, rule, resource, true),
          hostPorts,
          false);
    }

    @Override
    public ResourceRef resource() {
      return enforced.resource();
    }
  }

  /// One of several, chosen for each connection or request by its weight.
  record Split(List<Choice> choices, ResourceRef resource) implements Action {
    public Split {
      choices = List.copyOf(choices);
      if (choices.stream().mapToLong(Choice::weight).sum() <= 0) {
        throw new IllegalArgumentException("a split without weight");
      }
    }

    int total() {
      return choices.stream().mapToInt(Choice::weight).sum();
    }
  }

  /// @param weight its share of the sum of all
  record Choice(int weight, Action action) {}

  /// The first case whose condition holds; without one `otherwise`, and without that the
  /// destination counts as unknown.
  record Cases(List<Case> cases, Optional<Action> otherwise, ResourceRef resource)
      implements Action {
    public Cases {
      cases = List.copyOf(cases);
    }
  }

  /// What is done where a condition holds. `request` is what is done to the request.
  record Case(Condition condition, Action action, RequestPolicy request) {
    public Case(Condition condition, Action action) {
      this(condition, action, RequestPolicy.NONE);
    }
  }

  /// What only a connection or request can tell.
  @FunctionalInterface
  interface Condition {
    Condition ALWAYS = (_, _) -> true;

    /// @param request null where a connection is decided
    boolean holds(OriginalDst dst, @Nullable Request request);
  }

  /// Goes to the very address and port that was dialled, which a workload has.
  record ToWorkload(
      Decision.Destination to, Target.Traits traits, AddressRule rule, ResourceRef resource)
      implements Action {}

  /// The host has routes, and none of them takes the request: it is refused, whatever becomes of
  /// unknown destinations.
  record NoRoute(ResourceRef resource) implements Action {}

  /// Goes to a waypoint.
  record ToWaypoint(Decision.ToWaypoint decision) implements Action {
    @Override
    public ResourceRef resource() {
      return decision.resource();
    }
  }

  /// Is known and cannot be reached, whatever the mode.
  record CannotReach(Decision.Refuse decision, ResourceRef resource) implements Action {
    public static CannotReach of(Decision.Destination to, Refusal why, ResourceRef resource) {
      return new CannotReach(
          new Decision.Refuse(
              why, Optional.of(to.cluster()), Optional.of(resource), Optional.of(to.service())),
          resource);
    }
  }

  /// Is governed by something that this version does not honour; `what` names it.
  record NotHonoured(String cluster, String what, ResourceRef resource) implements Action {}
}
