package io.tailwater.agent.dataplane.relay;

/// How a relay ended. Both channels are closed when it is told, in the same way.
public sealed interface RelayEnd {
  /// Both sides sent FIN and everything was delivered.
  record Finished() implements RelayEnd {}

  /// One side reset the connection, or could not take bytes any more; the other was reset.
  record Reset(boolean byClient) implements RelayEnd {}

  /// Nothing moved for the idle timeout; both were reset.
  record Idle() implements RelayEnd {}

  /// The agent ended it; both were reset.
  record Stopped() implements RelayEnd {}
}
