package io.tailwater.agent.dataplane.sniff;

/// The answer of a sniffer: it knows, it wants more bytes, or the bytes are not of its kind.
public sealed interface Sniffed {
  /// It knows.
  record As(Preface preface) implements Sniffed {}

  /// More bytes are needed; ask again with all of them.
  record NeedMore() implements Sniffed {}

  /// Not this protocol.
  record Not() implements Sniffed {}

  /// The one instance.
  NeedMore NEED_MORE = new NeedMore();

  /// The one instance.
  Not NOT = new Not();
}
