package io.tailwater.agent.traffic;

/// What the agent does about connections that policy does not know. The order is from lax to
/// strict.
public enum EgressMode {
  /// Everything passes to the dialled address, unread and only counted.
  OFF,
  /// Unknown connections pass and are recorded as `wouldBlock`.
  AUDIT,
  /// The outbound traffic policy is applied.
  ENFORCE
}
