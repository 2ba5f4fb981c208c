package io.tailwater.agent.dataplane.resolve;

import java.net.InetAddress;
import java.util.List;

/// What looking a name up came to, before any address filter: the filter is a property of the
/// decision, not of the name.
public sealed interface Addresses {
  /// At least one address, families alternating as RFC 8305 section 4 wants. `stale` tells that the
  /// record has expired and could not be refreshed (bounded by `maxStale`).
  record Found(List<InetAddress> addresses, boolean stale) implements Addresses {
    public Found {
      addresses = List.copyOf(addresses);
      if (addresses.isEmpty()) {
        throw new IllegalArgumentException("found nothing");
      }
    }
  }

  /// No address. `detail` is for people.
  record Failed(Failure failure, String detail) implements Addresses {}

  /// Why there is none.
  enum Failure {
    /// NXDOMAIN.
    NO_SUCH_NAME,
    /// The name exists and has no address record.
    NO_ADDRESS,
    /// SERVFAIL, REFUSED, a mangled answer, or no server could be reached.
    SERVER,
    /// No answer in `queryTimeout`.
    TIMEOUT,
    /// A bound of the cache or of the pod is reached.
    OVERFLOW
  }
}
