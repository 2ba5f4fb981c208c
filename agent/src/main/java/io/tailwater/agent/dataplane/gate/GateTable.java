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

  private final ArrayDeque<Remembered> remembered = new ArrayDeque<>();
  private int opening;

  private record Remembered(GatedConnection connection, long untilNanos) {}

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

  void makeRoom(GatedPod pod, long now) {
    if (pod.opening < MOST_OPENING_OF_POD && !isFull()) {
      return;
    }
    for (GatedConnection one : pod.connections.values()) {
      if (one.phase instanceof Phase.Opening) {
        abandon(one, now);
        return;
      }
    }
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
        remembered.add(new Remembered(connection, now + REMEMBERED));
      }
    }
  }

  /// It may be silent for as long again.
  void waitAgain(GatedConnection connection, long now) {
    waiting.remove(connection);
    connection.waitsSince = now;
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
      enter(connection, new Phase.Refused(), now);
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
      if (connection.waitsSince - since > 0) {
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
    while (!remembered.isEmpty() && remembered.peek().untilNanos() - now <= 0) {
      GatedConnection connection = remembered.remove().connection();
      connection.pod.connections.remove(connection.tuple, connection);
    }
  }

  int remembered() {
    return remembered.size();
  }
}
