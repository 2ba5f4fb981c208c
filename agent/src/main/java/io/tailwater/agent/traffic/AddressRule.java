package io.tailwater.agent.traffic;

import java.util.List;

/// Which addresses may be dialled for a destination, carried by the decision and applied to every
/// address right before it is dialled. `exceptions` are blocks that policy admits in spite of the
/// scope.
public record AddressRule(Scope scope, List<CidrBlock> exceptions) {
  /// How much is filtered.
  public enum Scope {
    /// Nothing: policy does not know the destination and lets it pass, or it is an endpoint of the
    /// mesh itself.
    UNFILTERED,
    /// Addresses that are never a destination: loopback, link-local with metadata, multicast, the
    /// node's own ...
    NEVER_LIST,
    /// Those and private ranges, because a stranger may own the name.
    NEVER_LIST_AND_PRIVATE
  }

  /// Nothing is filtered.
  public static final AddressRule UNFILTERED = new AddressRule(Scope.UNFILTERED, List.of());

  public AddressRule {
    exceptions = List.copyOf(exceptions);
  }
}
