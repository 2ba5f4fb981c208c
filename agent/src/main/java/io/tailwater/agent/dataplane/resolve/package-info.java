/// From a name to addresses, and from an address to whether it may be dialled. In: host names and
/// the asking pod. Out: `Addresses`. Present entries are lock-free reads on any loop; misses,
/// refreshes and limits belong to one resolver thread; answers return to the asking loop as tasks.
/// Neighbours: connect asks; account reads its counters.
@NullMarked
package io.tailwater.agent.dataplane.resolve;

import org.jspecify.annotations.NullMarked;
