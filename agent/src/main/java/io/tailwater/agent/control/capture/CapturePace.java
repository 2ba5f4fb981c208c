package io.tailwater.agent.control.capture;

import java.util.concurrent.TimeUnit;

/// How often the capture loop does something.
///
/// @param lookNanos namespaces are looked at: gone, or replaced under the same path
/// @param sweepNanos the rules of a pod are read back although nothing was notified
/// @param unnotifiedNanos the same where the kernel notifies of no changes (iptables-legacy)
/// @param settleNanos least time between two looks at the rules of a pod that keep changing
/// @param longestRetryNanos the longest wait before a pod that fails is tried again
record CapturePace(
    long lookNanos,
    long sweepNanos,
    long unnotifiedNanos,
    long settleNanos,
    long longestRetryNanos) {
  static final CapturePace USUAL =
      new CapturePace(
          TimeUnit.SECONDS.toNanos(2),
          TimeUnit.SECONDS.toNanos(60),
          TimeUnit.SECONDS.toNanos(5),
          TimeUnit.MILLISECONDS.toNanos(250),
          TimeUnit.SECONDS.toNanos(30));
}
