package io.tailwater.agent.dataplane.account;

/// How sure the payload bytes of a connection are.
public enum ByteCount {
  /// Counted, or told by the sequence numbers of its ends.
  EXACT,
  /// Estimated by the sizes of packets, because its end was not seen.
  APPROXIMATE,
  /// It ended while no agent ran.
  INCOMPLETE
}
