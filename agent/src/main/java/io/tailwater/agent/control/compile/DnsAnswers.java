package io.tailwater.agent.control.compile;

import io.tailwater.agent.control.allocate.AddressAllocator;
import io.tailwater.agent.dataplane.dns.DnsProxyConfig;

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

  /// As `dns.answers` has it.
  static DnsAnswers of(DnsProxyConfig.Answers answers, AddressAllocator.Store kept) {
    return switch (answers) {
      case AUTO -> new Own(new AddressAllocator(AddressAllocator.Which.NAMELESS, kept), true);
      case ALLOCATED -> new Own(new AddressAllocator(AddressAllocator.Which.ALL, kept), false);
    };
  }

  /// Whether clients know services by allocated addresses.
  default boolean captured() {
    return !(this instanceof NotCaptured);
  }

  /// Whether allocated addresses are for hosts alone that bytes do not name.
  default boolean realNamesFirst() {
    return this instanceof Own(_, boolean realNames) && realNames;
  }
}
