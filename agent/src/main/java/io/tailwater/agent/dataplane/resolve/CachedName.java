package io.tailwater.agent.dataplane.resolve;

import io.tailwater.agent.traffic.HostName;
import io.tailwater.agent.traffic.PodRef;
import java.net.InetAddress;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/// One name of the cache as admin shows it; a snapshot.
///
/// @param addresses empty while the name is asked for the first time, and after a failure
/// @param ttlLeft until the answer must be asked for again; zero when that time is over
/// @param stale whether the addresses have expired
/// @param failure what a name without addresses came to
/// @param users the pods that used it, the one that is charged for it first; at most 16
/// @param idle since the last use
public record CachedName(
    HostName name,
    List<InetAddress> addresses,
    Duration ttlLeft,
    boolean stale,
    Optional<Addresses.Failed> failure,
    List<PodRef> users,
    Duration idle) {
  public CachedName {
    addresses = List.copyOf(addresses);
    users = List.copyOf(users);
  }
}
