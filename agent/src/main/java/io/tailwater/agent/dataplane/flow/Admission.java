package io.tailwater.agent.dataplane.flow;

import java.util.concurrent.atomic.AtomicInteger;

/// Counts what is bounded over all loops. Any thread.
public final class Admission {
  private final FlowLimits limits;
  private final int mostConnections;
  private final AtomicInteger connections = new AtomicInteger();
  private final AtomicInteger handshakes = new AtomicInteger();

  /// `descriptors` is what the process may open: where the limit is automatic, connections may use
  /// nine tenths of it at two descriptors each.
  public Admission(FlowLimits limits, long descriptors) {
    this.limits = limits;
    this.mostConnections =
        limits.connections() > 0
            ? limits.connections()
            : Math.clamp(descriptors * 9 / 20, 64, 1_000_000);
  }

  /// Admits one more connection of the pod, or says which limit is reached (for the record).
  String admit(ServedPod pod) {
    if (connections.incrementAndGet() > mostConnections) {
      connections.decrementAndGet();
      return "limits.connections (" + mostConnections + ") is reached";
    }
    if (pod.connections().incrementAndGet() > limits.connectionsPerPod()) {
      connections.decrementAndGet();
      pod.connections().decrementAndGet();
      return "limits.connectionsPerPod (" + limits.connectionsPerPod() + ") is reached";
    }
    return "";
  }

  void left(ServedPod pod) {
    connections.decrementAndGet();
    pod.connections().decrementAndGet();
  }

  /// Whether one more client of the pod may be waited for. One pod gets at most a quarter of what
  /// all have (but 16), so that silent clients of one do not keep the others out.
  public boolean beginHandshake(ServedPod pod) {
    int all = limits.pendingHandshakes();
    int share = Math.max(all / 4, Math.min(all, 16));
    if (pod.handshakes().incrementAndGet() > share) {
      pod.handshakes().decrementAndGet();
      return false;
    }
    if (handshakes.incrementAndGet() > all) {
      endHandshake(pod);
      return false;
    }
    return true;
  }

  /// It is waited for no longer.
  public void endHandshake(ServedPod pod) {
    handshakes.decrementAndGet();
    pod.handshakes().decrementAndGet();
  }

  /// Connections that live now.
  public int connections() {
    return connections.get();
  }

  /// Connections whose first bytes are awaited now.
  public int handshakes() {
    return handshakes.get();
  }
}
