package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.traffic.Refusal;
import io.tailwater.agent.traffic.ResourceRef;
import java.util.Optional;

/// What resources that are there would have to say for a refused connection to be allowed, where
/// that is less than a ServiceEntry of its own, or where one alone would not do. Made on the slow
/// path only.
public sealed interface Remedy {
  /// Another host among those that the client's Sidecar imports, as `namespace/dnsName`.
  ///
  /// @param listener the port of the egress listener that it belongs to; empty for one without
  /// @param entry whether the ServiceEntry is needed besides, because nothing has the name
  record Import(ResourceRef sidecar, String host, Optional<Integer> listener, boolean entry)
      implements Remedy {}

  /// Another port of a ServiceEntry or Kubernetes Service that has the name already.
  record AddPort(ResourceRef to) implements Remedy {}

  /// None: a resource that is there is in the way; `why` is a sentence without its full stop.
  record None(String why) implements Remedy {}

  /// Whether resources can have a part in lifting such a refusal.
  static boolean mayLift(Refusal why) {
    return switch (why) {
      case CONNECTION_CLOSED, HTTP_502, NO_HEALTHY_UPSTREAM -> true;
      case CLUSTER_NOT_FOUND,
          DNS_FAILURE,
          POLICY_DENIED,
          ADDRESS_FILTERED,
          WAYPOINT_UNAVAILABLE,
          CONNECT_FAILED,
          LIMIT,
          RELEASED_ADDRESS_MISMATCH,
          NOT_SUPPORTED_YET,
          NO_SNI,
          MALFORMED_HELLO,
          HELLO_TIMEOUT,
          DIRECT_HIT,
          UNKNOWN_SOURCE,
          NAME_REFUSED,
          UDP,
          IPV6,
          MARK,
          ICMP,
          PROTOCOL,
          UNCAPTURED,
          PACKET_SOCKET ->
          false;
    };
  }
}
