package io.tailwater.agent.dataplane.gate;

import io.tailwater.iptables.queue.FlowTuple;
import io.tailwater.iptables.queue.SocketDiag;
import java.util.Map;
import java.util.Optional;

/// What the kernel knows of the released connections of one pod. On the gate's thread; each call
/// waits for the kernel's answer, which needs nobody else.
public interface KernelConnections {
  /// Payload bytes.
  ///
  /// @param exact whether they are those of the pod's own socket; otherwise an estimate by the
  ///   sizes of packets, which errs upwards where packets were lost
  record Bytes(long sent, long received, boolean exact) {}

  /// Of one connection; empty when it is gone.
  Optional<Bytes> bytes(FlowTuple tuple);

  /// How many payload bytes the pod's own socket says to have sent, from its first on, each counted
  /// once, wherever they are now; less than 0 where it does not say. Only where the kernel tells
  /// genuine packets from others.
  SocketDiag.Sent sent(FlowTuple tuple);

  /// All that are released and have not ended, with estimates.
  Map<FlowTuple, Bytes> released();

  /// Denies a connection and ends it at both ends, at once where the kernel can.
  void end(FlowTuple tuple);
}
