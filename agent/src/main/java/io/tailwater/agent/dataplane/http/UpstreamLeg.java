package io.tailwater.agent.dataplane.http;

import org.jspecify.annotations.Nullable;

/// What the legs of both protocols have in common: an inbox, and who waits for what comes there. On
/// the loop.
abstract class UpstreamLeg implements Leg, Inbox.Reader {
  final Inbox inbox = new Inbox(this);

  /// Null while nobody waits.
  Leg.@Nullable Listener listener;

  @Override
  public final void ask() {
    inbox.ask();
  }

  @Override
  public final void pause() {
    Leg.Listener to = listener;
    if (to != null) {
      to.responsePause();
    }
  }

  @Override
  public final void writabilityChanged() {
    Leg.Listener to = listener;
    if (to != null && writable()) {
      to.legWritable();
    }
  }
}
