package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.allocate.AddressAllocator;

/// What captured DNS answers clients with, and so which addresses name services.
public sealed interface DnsAnswers {
  /// DNS is not captured: addresses that were allocated mean nothing.
  record NotCaptured() implements DnsAnswers {}

  /// As Istio: whatever a control plane wrote into `status.addresses`.
  record Given() implements DnsAnswers {}

  /// That, and where there is none addresses of our own.
  ///
  /// @param realNames whether a host whose every port is found by name is answered with its real
  ///   addresses instead (`dns.answers: auto`)
  record Own(AddressAllocator allocator, boolean realNames) implements DnsAnswers {}

  /// Whether clients know services by allocated addresses.
  default boolean captured() {
    return !(this instanceof NotCaptured);
  }

  /// Whether allocated addresses are for hosts alone that bytes do not name.
  default boolean realNamesFirst() {
    return this instanceof Own(_, boolean realNames) && realNames;
  }
}
