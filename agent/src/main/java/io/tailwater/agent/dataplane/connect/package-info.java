/// From a decision to a connected upstream; read `Connector` first. In: a `ConnectRequest` and the
/// client. Out: an `UpstreamConnection` on the same loop, or why there is none. Everything on the
/// connection's loop; sockets come from its `SocketMaker`. Neighbours: resolve gives addresses and
/// the filter, upstream picks and counts, tls has the certificates; flow and http ask.
@NullMarked
package io.tailwater.agent.dataplane.connect;

import org.jspecify.annotations.NullMarked;
