package io.tailwater.agent.dataplane.gate;

import io.tailwater.iptables.queue.FlowTuple;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// The released connections of one pod by their ends. A map whose entries are the connections
/// themselves, because an entry of another one would cost as much again. One thread.
final class ReleasedTable {
  private static final int SMALLEST = 16;

  private @Nullable ReleasedConnection[] buckets = new ReleasedConnection[SMALLEST];
  private int size;

  int size() {
    return size;
  }

  boolean isEmpty() {
    return size == 0;
  }

  @Nullable ReleasedConnection get(FlowTuple tuple) {
    ReleasedConnection one = buckets[bucket(tuple)];
    while (one != null && !one.tuple.equals(tuple)) {
      one = one.next;
    }
    return one;
  }

  /// Its ends must be new here.
  void add(ReleasedConnection one) {
    if (get(one.tuple) != null) {
      throw new IllegalStateException("released twice: " + one.tuple);
    }
    if (++size > buckets.length) {
      resize(2 * buckets.length);
    }
    int bucket = bucket(one.tuple);
    one.next = buckets[bucket];
    buckets[bucket] = one;
  }

  void remove(ReleasedConnection one) {
    int bucket = bucket(one.tuple);
    ReleasedConnection before = null;
    ReleasedConnection at = buckets[bucket];
    while (at != null && at != one) {
      before = at;
      at = at.next;
    }
    if (at == null) {
      return;
    }
    if (before == null) {
      buckets[bucket] = at.next;
    } else {
      before.next = at.next;
    }
    at.next = null;
    if (--size < buckets.length / 4 && buckets.length > SMALLEST) {
      resize(buckets.length / 2);
    }
  }

  void clear() {
    buckets = new ReleasedConnection[SMALLEST];
    size = 0;
  }

  /// A copy, in no order.
  List<ReleasedConnection> all() {
    List<ReleasedConnection> out = new ArrayList<>(size);
    for (ReleasedConnection first : buckets) {
      for (ReleasedConnection one = first; one != null; one = one.next) {
        out.add(one);
      }
    }
    return out;
  }

  private void resize(int length) {
    List<ReleasedConnection> all = all();
    buckets = new ReleasedConnection[length];
    for (ReleasedConnection one : all) {
      int bucket = bucket(one.tuple);
      one.next = buckets[bucket];
      buckets[bucket] = one;
    }
  }

  private int bucket(FlowTuple tuple) {
    int hash = tuple.hashCode() * 0x9E3779B9;
    return (hash >>> 7 ^ hash >>> 19) & (buckets.length - 1);
  }
}
