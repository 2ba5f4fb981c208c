package io.tailwater.agent.dataplane.account;

import io.tailwater.agent.traffic.Refusal;

/// How a connection ended. Normal TCP endings are not errors.
public sealed interface Outcome {
  /// Both directions were closed in order.
  record Finished() implements Outcome {}

  /// One side reset it; the other was reset too.
  record Reset(boolean byClient) implements Outcome {}

  /// No byte in either direction for the idle timeout.
  record IdleTimeout() implements Outcome {}

  /// It was open for as long as its destination's policy allows.
  record TimeLimit() implements Outcome {}

  /// The client went away before the destination was connected.
  record ClientGone() implements Outcome {}

  /// The agent let go of it while draining or because its pod is gone.
  record Drained() implements Outcome {}

  /// Refused, or failed on the way. `detail` is for people and may be empty.
  record Refused(Refusal why, String detail) implements Outcome {}
}
