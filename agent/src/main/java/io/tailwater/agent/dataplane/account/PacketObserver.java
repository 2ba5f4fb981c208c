package io.tailwater.agent.dataplane.account;

import io.tailwater.agent.traffic.Refusal;

/// Is told of packets that the rules of a pod refused, before any connection was there to speak of.
/// Any thread; must not block and must not throw.
public interface PacketObserver {
  /// One packet, with where it came from and where it was meant to go; port 0 where its protocol
  /// has none. `detail` is for people.
  void refused(ConnectionRecord packet, Refusal why, String detail);
}
