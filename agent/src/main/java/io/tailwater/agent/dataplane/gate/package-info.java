/// The kernel pass. In: the packets of a pod that the kernel holds because they begin a connection
/// to a releasable address. Out: verdicts. A connection that policy lets go to the very address
/// that it dialled is released, and moves on without the agent; any other is refused. Which
/// addresses are releasable, and what became of released connections, is kept here too. Read
/// `ClientHelloGate` first; it and the released connections belong to the gate's one thread.
/// Neighbours: sniff, route and the look-up of addresses are those of the relay; capture brings
/// packets and carries verdicts out.
@NullMarked
package io.tailwater.agent.dataplane.gate;

import org.jspecify.annotations.NullMarked;
