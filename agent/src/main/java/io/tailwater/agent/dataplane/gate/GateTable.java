package io.tailwater.agent.dataplane.gate;

import io.tailwater.agent.dataplane.account.Outcome;
import io.tailwater.agent.dataplane.flow.Stages;
import io.tailwater.agent.dataplane.gate.GatedConnection.Phase;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/// The connections at the gate, of all pods: who waits for a verdict since when, and within which
/// bounds. The gate's thread only.
final class GateTable {
  /// Connections that were let open and have sent nothing, of all pods and of one. They cost the
  /// agent next to nothing; whoever has more of them has its oldest forgotten.
  static final int MOST_OPENING = 16_384;

  static final int MOST_OPENING_OF_POD = 4_096;

  /// So long a verdict is remembered for packets that were in the queue already.
  private static final long REMEMBERED = TimeUnit.SECONDS.toNanos(2);

  private final Stages stages;

  /// Those without a verdict, the oldest first.
  private final LinkedHashSet<GatedConnection> waiting = new LinkedHashSet<>();

  /// Those with one, the oldest first.
  private final ArrayDeque<GatedConnection> remembered = new ArrayDeque<>();

  private int opening;

  GateTable(Stages stages) {
    this.stages = stages;
  }

  GatedConnection track(GatedConnection connection) {
    GatedConnection before = connection.pod.connections.put(connection.tuple, connection);
    if (before != null) {
      throw new IllegalStateException("two connections with the same ends");
    }
    connection.pod.opening++;
    opening++;
    waiting.add(connection);
    return connection;
  }

  boolean isFull() {
    return opening >= MOST_OPENING;
  }

  /// Who has said nothing for longest, where one more would be too many; null where there is room.
  @Nullable GatedConnection oneTooMany(GatedPod pod) {
    if (pod.opening < MOST_OPENING_OF_POD && !isFull()) {
      return null;
    }
    for (GatedConnection one : pod.connections.values()) {
      if (one.phase instanceof Phase.Opening) {
        return one;
      }
    }
    return null;
  }

  void enter(GatedConnection connection, Phase next, long now) {
    if (connection.phase instanceof Phase.Opening) {
      connection.pod.opening--;
      opening--;
    }
    boolean wasOver = connection.over();
    connection.phase = next;
    if (connection.over()) {
      waiting.remove(connection);
      if (connection.admitted) {
        connection.admitted = false;
        stages.admission().endHandshake(connection.pod.pod());
      }
      if (!wasOver) {
        connection.since = now;
        remembered.add(connection);
      }
    }
  }

  /// It may be silent for as long again.
  void waitAgain(GatedConnection connection, long now) {
    waiting.remove(connection);
    connection.since = now;
    waiting.add(connection);
  }

  /// Forgets a connection without a verdict; what is held of it is dropped.
  void abandon(GatedConnection connection, long now) {
    Phase.Reading read = connection.read();
    if (read != null) {
      read.dropHeld(connection.pod.verdicts());
    }
    if (connection.phase instanceof Phase.Deciding deciding) {
      deciding.record.stage("closed");
      stages.observer().ended(deciding.record, new Outcome.ClientGone());
    }
    if (!connection.over()) {
      enter(connection, Phase.Refused.ONE, now);
    }
    connection.pod.connections.remove(connection.tuple, connection);
  }

  void abandonAll(GatedPod pod, long now) {
    List.copyOf(pod.connections.values()).forEach(one -> abandon(one, now));
  }

  /// Those that have waited since then or longer.
  List<GatedConnection> waitingSince(long since) {
    List<GatedConnection> due = new ArrayList<>();
    for (GatedConnection connection : waiting) {
      if (connection.since - since > 0) {
        break;
      }
      due.add(connection);
    }
    return due;
  }

  /// Those without a verdict.
  Set<GatedConnection> waiting() {
    return waiting;
  }

  void isWaitedForNoLonger(GatedConnection connection) {
    waiting.remove(connection);
  }

  /// Forgets old verdicts.
  void forget(long now) {
    while (!remembered.isEmpty() && now - remembered.peek().since >= REMEMBERED) {
      GatedConnection connection = remembered.remove();
      connection.pod.connections.remove(connection.tuple, connection);
    }
  }

  int remembered() {
    return remembered.size();
  }
}
