package io.tailwater.agent.dataplane.gate;

import io.tailwater.agent.dataplane.flow.ServedPod;
import io.tailwater.iptables.queue.FlowTuple;
import java.util.LinkedHashMap;
import java.util.Map;

/// A pod whose connections may take the kernel pass: how the kernel is told, and the connections
/// whose beginnings are looked at. The gate's thread, but for what is final.
public final class GatedPod {
  private final ServedPod pod;
  private final Verdicts verdicts;
  private final KernelConnections kernel;
  private final ReleasableAddresses addresses;
  private final boolean genuine;

  /// By their ends; oldest first; few, because each stays a moment only.
  final Map<FlowTuple, GatedConnection> connections = new LinkedHashMap<>();

  /// Those that were released and have not ended.
  final ReleasedTable released = new ReleasedTable();

  final SharedParts shared = new SharedParts();

  /// When the kernel was asked last how far they are; long ago at first.
  long lookedNanos = Long.MIN_VALUE / 2;

  /// Packets, and beginnings of connections, are being lost.
  boolean losing;

  /// Those that have been let open and sent nothing yet.
  int opening;

  /// @param genuine whether the kernel tells packets of real sockets from others, and is to: in a
  ///   pod's own namespace
  public GatedPod(
      ServedPod pod,
      Verdicts verdicts,
      KernelConnections kernel,
      ReleasableAddresses addresses,
      boolean genuine) {
    this.pod = pod;
    this.verdicts = verdicts;
    this.kernel = kernel;
    this.addresses = addresses;
    this.genuine = genuine;
  }

  public ServedPod pod() {
    return pod;
  }

  public ReleasableAddresses addresses() {
    return addresses;
  }

  Verdicts verdicts() {
    return verdicts;
  }

  KernelConnections kernel() {
    return kernel;
  }

  boolean genuine() {
    return genuine;
  }
}
