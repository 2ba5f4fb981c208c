package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.ResourceRef;

/// What resources that are there would have to say for a refused connection to be allowed, where
/// that is less than a ServiceEntry of its own, or where one alone would not do. Made on the slow
/// path only.
public sealed interface Remedy {
  /// Another host among those that the client's Sidecar imports, as `namespace/dnsName`.
  ///
  /// @param entry whether the ServiceEntry is needed besides, because nothing has the name
  record Import(ResourceRef sidecar, String host, boolean entry) implements Remedy {}

  /// Another port of an entry that has the name already.
  record AddPort(ResourceRef entry) implements Remedy {}

  /// None: an entry has the name on that port for another protocol. `spoken` is that one.
  record OtherProtocol(ResourceRef entry, String spoken) implements Remedy {}
}
