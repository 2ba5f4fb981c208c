package io.tailwater.agent.dataplane.route;

import io.tailwater.agent.dataplane.sniff.Preface;
import io.tailwater.agent.traffic.EgressMode;
import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.OriginalDst;
import java.util.List;
import java.util.Optional;

/// The policy as the pods of one kind see it: one per distinct (namespace, Sidecar, selected
/// rules), shared and immutable.
public interface ClientView {
  /// What the decision for a destination needs of the client's bytes.
  enum Ask {
    /// Nothing: decide at once with `Preface.Silent`; nothing is held.
    NOTHING,
    /// The name or the protocol decides: hold until the preface is known or the deadline passes.
    PREFACE
  }

  /// enforce, audit or off, for the pod's namespace.
  EgressMode mode();

  /// Whether policy refuses unknown destinations (REGISTRY_ONLY), whatever the mode does about it.
  boolean registryOnly();

  /// What captured DNS answers for a name; empty where no resource that the client sees knows it.
  default Optional<KnownName> known(HostName name) {
    return Optional.empty();
  }

  /// The ports for which something is configured, whatever the address.
  default List<Integer> ports() {
    return List.of();
  }

  /// Asked once per connection, before a byte is read.
  Ask ask(OriginalDst dst);

  /// The decision. Called once per connection, on the same view that answered `ask`. It may be
  /// [Decision.PerRequest]; every other answer is the last.
  Decision decide(OriginalDst dst, Preface preface);

  /// The decision for one request of a connection that was answered with [Decision.PerRequest], on
  /// the same view. Never [Decision.PerRequest] nor [Decision.ByName].
  default Decision decide(OriginalDst dst, Request request) {
    return decide(
        dst,
        new Preface.Http(
            request.host(), request.port(), request.http2(), request.method(), request.path()));
  }
}
