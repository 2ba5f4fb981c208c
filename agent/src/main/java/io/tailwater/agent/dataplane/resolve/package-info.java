/// From a name to addresses, and from an address to whether it may be dialled. In: host names and
/// the asking pod. Out: `Addresses`. Neighbours: connect asks and filters; account reads
/// `ResolveStats`, admin `DnsCache.entries`.
///
/// | thread | what |
/// |---|---|
/// | any loop | present entries, lock-free; answers come back as tasks |
/// | `tailwater-resolve` | misses, refreshes, limits, timers |
/// | `tailwater-resolve-io` | the sockets to the DNS servers, reading their answers |
///
/// Both threads are started by `DnsCache.start` and live, with their sockets, in the network
/// namespace of whoever calls it: the agent's own, before any thread enters a pod's.
///
/// The seams are `Lookup` (a DNS that a test writes), `ResolverThread` (a clock that a test winds)
/// and dnsjava's own client interfaces (`DnsSockets`).
@NullMarked
package io.tailwater.agent.dataplane.resolve;

import org.jspecify.annotations.NullMarked;
