package io.tailwater.agent.dataplane.relay;

import io.netty.buffer.ByteBuf;

/// Is told by a relay, on its loop.
public interface RelayObserver {
  /// The first bytes of the client, where the relay was asked to show them; borrowed for the call.
  /// They have not been held.
  void firstClientBytes(ByteBuf bytes);

  /// It is over; exactly once.
  void ended(RelayEnd end);
}
