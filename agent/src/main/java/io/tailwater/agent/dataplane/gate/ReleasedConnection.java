package io.tailwater.agent.dataplane.gate;

import io.tailwater.agent.dataplane.account.ConnectionRecord;
import io.tailwater.agent.dataplane.upstream.Cluster;
import io.tailwater.agent.dataplane.upstream.Endpoint;
import io.tailwater.iptables.queue.EndSegment;
import io.tailwater.iptables.queue.FlowTuple;

/// A connection that the kernel carries alone. There may be many, so this is small.
final class ReleasedConnection {
  /// Not known yet.
  private static final long UNKNOWN = -1;

  private static final long WRAP = 1L << 32;

  final GatedPod pod;
  final FlowTuple tuple;
  final ConnectionRecord record;
  final Cluster cluster;
  final Endpoint endpoint;

  /// Sequence numbers of the first byte of either side.
  private final int first;

  private final int firstBack;

  /// Whether both are known.
  final boolean counted;

  boolean written;

  /// The kernel did not have it at the last look; how it ended may be about to be told.
  boolean missing;

  /// As the FIN of either side tells, modulo 2^32.
  private long up = UNKNOWN;

  private long down = UNKNOWN;
  private boolean upEnded;
  private boolean downEnded;
  private boolean reset;
  private boolean resetByPod;

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
    this.counted = firstBack != 0;
  }

  int first() {
    return first;
  }

  int firstBack() {
    return firstBack;
  }

  /// A FIN or RST of one side. What a FIN said stays: a later segment counts the FIN too.
  void ending(EndSegment segment, boolean byPod) {
    long own = Integer.toUnsignedLong(segment.end() - (byPod ? first : firstBack));
    long other = Integer.toUnsignedLong(segment.acknowledgement() - (byPod ? firstBack : first));
    if (segment.isReset()) {
      reset = true;
      resetByPod = byPod;
    }
    if (byPod) {
      up = upEnded ? up : own;
      upEnded |= segment.isFin();
      if (segment.acknowledges() && !downEnded) {
        down = other;
      }
    } else {
      down = downEnded ? down : own;
      downEnded |= segment.isFin();
      if (segment.acknowledges() && !upEnded) {
        up = other;
      }
    }
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
    return counted && up != UNKNOWN && down != UNKNOWN;
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

  static long unwrapped(long value, long about) {
    long wraps = Math.round((double) (about - value) / WRAP);
    return value + Math.max(0, wraps) * WRAP;
  }
}
