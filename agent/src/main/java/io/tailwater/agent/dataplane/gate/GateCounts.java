package io.tailwater.agent.dataplane.gate;

import java.util.concurrent.atomic.LongAdder;

/// What the gate counts. Written by its thread, read by any.
public final class GateCounts {
  final LongAdder packets = new LongAdder();
  final LongAdder released = new LongAdder();
  final LongAdder refused = new LongAdder();
  final LongAdder mismatched = new LongAdder();
  final LongAdder overloaded = new LongAdder();
  final LongAdder copied = new LongAdder();
  final LongAdder rewritten = new LongAdder();
  final LongAdder found = new LongAdder();
  final LongAdder revoked = new LongAdder();

  /// Packets that the kernel has asked about.
  public long packets() {
    return packets.sum();
  }

  /// Connections that were released.
  public long released() {
    return released.sum();
  }

  /// Connections that were refused.
  public long refused() {
    return refused.sum();
  }

  /// Of these, those whose name is not at home at the address.
  public long mismatched() {
    return mismatched.sum();
  }

  /// Of these, those that a bound refused.
  public long overloaded() {
    return overloaded.sum();
  }

  /// Segments that were copied and dropped, because the rest of their hello was awaited.
  public long copied() {
    return copied.sum();
  }

  /// Hellos that went on in packets of ours, because some of theirs had been dropped.
  public long rewritten() {
    return rewritten.sum();
  }

  /// Connections whose SYN another agent had seen.
  public long found() {
    return found.sum();
  }

  /// Released connections that policy has ended.
  public long revoked() {
    return revoked.sum();
  }
}
