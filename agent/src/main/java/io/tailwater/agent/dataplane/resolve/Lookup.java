package io.tailwater.agent.dataplane.resolve;

import io.tailwater.agent.traffic.HostName;
import java.net.InetAddress;
import java.time.Duration;
import java.util.List;
import java.util.function.Consumer;

/// Asks the DNS once, without any memory: the seam under `DnsCache`. The name is absolute; a search
/// domain is never tried. May be called from any thread and returns at once; `result` comes on a
/// thread of the lookup's own. The caller survives a lookup that answers twice or never.
public interface Lookup extends AutoCloseable {
  /// An address family, as a record type.
  enum Family {
    /// A.
    V4,
    /// AAAA.
    V6
  }

  void lookup(HostName absolute, Family family, Consumer<LookupResult> result);

  /// Starts every thread and touches every class, so that nothing is born later in whatever network
  /// namespace the first asker happens to be in.
  default void warmUp() {}

  /// Ends the threads, closes the sockets.
  @Override
  default void close() {}

  /// What asking came to.
  sealed interface LookupResult {
    /// At least one address, of the family that was asked for. `ttl` is the least along the chain
    /// of records that led to them, as the server gave it.
    record Found(List<InetAddress> addresses, Duration ttl) implements LookupResult {
      public Found {
        addresses = List.copyOf(addresses);
        if (addresses.isEmpty()) {
          throw new IllegalArgumentException("found nothing");
        }
      }
    }

    /// No address; `detail` says which server and what.
    record Failed(Addresses.Failure failure, String detail) implements LookupResult {}
  }
}
