/// Moves the bytes of one connection both ways until it is over. In: a client and an upstream
/// channel on one loop, and the bytes that were read ahead. Out: `RelayEnd` and byte counts.
/// Everything on that loop. Memory is bounded: a side is not read while the other cannot take its
/// bytes. Neighbours: flow starts it; native-iptables has splice(2).
@NullMarked
package io.tailwater.agent.dataplane.relay;

import org.jspecify.annotations.NullMarked;
