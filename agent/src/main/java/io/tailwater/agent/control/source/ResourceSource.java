package io.tailwater.agent.control.source;

/// Somewhere policy comes from. `start` hands over a first snapshot before it returns, and from
/// then on one for each change, from a thread of the source. A listener must be quick.
public interface ResourceSource extends AutoCloseable {
  /// How messages name it.
  String name();

  /// Begins. Called once.
  void start(Listener listener);

  /// Ends; no snapshot comes after it returns.
  @Override
  void close();

  /// Takes snapshots.
  @FunctionalInterface
  interface Listener {
    void changed(SourceSnapshot snapshot);
  }
}
