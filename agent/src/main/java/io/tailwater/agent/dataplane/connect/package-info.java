/// From a decision to a connected upstream. In: `Decision` and the client's `OriginalDst`. Out: a
/// connected channel on the same loop, or why there is none. Everything on the connection's loop;
/// sockets come from its `SocketMaker`. Neighbours: resolve gives addresses and the filter,
/// upstream counts, flow asks.
@NullMarked
package io.tailwater.agent.dataplane.connect;

import org.jspecify.annotations.NullMarked;
