package io.tailwater.agent.dataplane.relay;

import io.tailwater.agent.dataplane.transport.EpollSocket;
import io.tailwater.agent.dataplane.transport.StreamSocket;
import io.tailwater.agent.traffic.Grade;

/// Chooses who moves the bytes of a connection. On its loop.
public final class Relays {
  private Relays() {}

  /// The best relay that the two sockets and `highest` allow, not started yet.
  public static Relay between(
      StreamSocket client,
      StreamSocket upstream,
      Grade highest,
      RelayObserver observer,
      long idleNanos,
      PipePool pipes) {
    long now = System.nanoTime();
    return highest == Grade.SPLICE
            && client instanceof EpollSocket from
            && upstream instanceof EpollSocket to
        ? new SpliceRelay(from, to, observer, idleNanos, now, pipes)
        : new CopyRelay(client, upstream, observer, idleNanos, now);
  }
}
