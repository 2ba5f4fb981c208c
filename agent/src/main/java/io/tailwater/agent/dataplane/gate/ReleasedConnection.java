package io.tailwater.agent.dataplane.gate;

import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.upstream.Cluster;
import io.tailwater.agent.dataplane.upstream.Endpoint;
import io.tailwater.iptables.queue.EndSegment;
import io.tailwater.iptables.queue.FlowTuple;
import org.jspecify.annotations.Nullable;

/// A connection that the kernel carries alone. There may be many, so this is small.
final class ReleasedConnection {
  private static final long WRAP = 1L << 32;

  final GatedPod pod;
  final FlowTuple tuple;
  final ConnectionRecord record;
  final Cluster cluster;
  final Endpoint endpoint;

  /// The next one in a bucket of the [ReleasedTable].
  @Nullable ReleasedConnection next;

  /// Sequence numbers of the first byte of either side; where the server's is not known it is 0.
  private final int first;

  private final int firstBack;

  /// Payload bytes as the ends tell them, modulo 2^32.
  private int up;

  private int down;
  private boolean upKnown;
  private boolean downKnown;
  private boolean upEnded;
  private boolean downEnded;
  private boolean reset;
  private boolean resetByPod;

  /// Its place among the [UnwrittenConnections]; -1 is none.
  int unwrittenAt = -1;

  /// The kernel did not have it at the last look; how it ended may be about to be told.
  boolean missing;

  /// @param firstBack 0 where it is not known
  ReleasedConnection(
      GatedPod pod,
      FlowTuple tuple,
      ConnectionRecord record,
      Cluster cluster,
      Endpoint endpoint,
      int first,
      int firstBack) {
    this.pod = pod;
    this.tuple = tuple;
    this.record = record;
    this.cluster = cluster;
    this.endpoint = endpoint;
    this.first = first;
    this.firstBack = firstBack;
  }

  int first() {
    return first;
  }

  int firstBack() {
    return firstBack;
  }

  /// A FIN or RST of one side. What a FIN said stays: a later segment counts the FIN too.
  void ending(EndSegment segment, boolean byPod) {
    if (segment.isReset()) {
      reset = true;
      resetByPod = byPod;
    }
    if (byPod) {
      sent(segment.end() - first, segment.isFin());
    } else {
      received(segment.end() - firstBack, segment.isFin());
    }
    if (segment.acknowledges() && byPod) {
      received(segment.acknowledgement() - firstBack, false);
    } else if (segment.acknowledges()) {
      sent(segment.acknowledgement() - first, false);
    }
  }

  private void sent(int bytes, boolean end) {
    if (!upEnded) {
      up = bytes;
      upKnown = true;
      upEnded = end;
    }
  }

  private void received(int bytes, boolean end) {
    if (!downEnded) {
      down = bytes;
      downKnown = true;
      downEnded = end;
    }
  }

  /// Whether it stands in the file.
  boolean isWritten() {
    return unwrittenAt < 0;
  }

  /// Whether no more bytes can move.
  boolean over() {
    return reset || (upEnded && downEnded);
  }

  boolean wasReset() {
    return reset;
  }

  boolean resetByPod() {
    return resetByPod;
  }

  /// Whether the segments have told how many bytes there were.
  boolean told() {
    return firstBack != 0 && upKnown && downKnown;
  }

  /// Payload bytes of the pod. Sequence numbers begin again after 4 GiB.
  ///
  /// @param about the estimate that tells how often
  long up(long about) {
    return unwrapped(up, about);
  }

  long down(long about) {
    return unwrapped(down, about);
  }

  private static long unwrapped(int bytes, long about) {
    long value = Integer.toUnsignedLong(bytes);
    long wraps = Math.round((double) (about - value) / WRAP);
    return value + Math.max(0, wraps) * WRAP;
  }
}
