/// Addresses for hosts that no bytes name: where a protocol says no name, clients are told apart by
/// the address that captured DNS gave them. In: the entries in force, oldest first. Out: the same
/// entries with an address of each family for every host that is to have one. Pure but for
/// `AllocationFile`, which keeps the assignments over restarts. One thread at a time, the
/// compiler's.
@NullMarked
package io.tailwater.agent.control.allocate;

import org.jspecify.annotations.NullMarked;
