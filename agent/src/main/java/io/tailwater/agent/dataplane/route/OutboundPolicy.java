package io.tailwater.agent.dataplane.route;

/// What becomes of destinations that nothing configures (Istio's `outboundTrafficPolicy`).
public sealed interface OutboundPolicy {
  /// They are refused.
  record RegistryOnly() implements OutboundPolicy {}

  /// They pass to the address that was dialled.
  record AllowAny() implements OutboundPolicy {}

  /// Plaintext HTTP goes to what its Host resolves to, the rest passes to the address that was
  /// dialled.
  record AllowAnyDynamicDns(Action.ByName byHost) implements OutboundPolicy {}

  /// They go to a service that is named for it (a Sidecar's `egressProxy`).
  record ThroughProxy(Action proxy) implements OutboundPolicy {}
}
