package io.tailwater.agent.dataplane.accept;

import io.tailwater.agent.dataplane.transport.StreamSocket;
import io.tailwater.agent.traffic.ClientAddress;
import io.tailwater.agent.traffic.OriginalDst;

/// A captured connection. `direct` tells that a capture port was dialled itself: relaying it would
/// loop. The socket belongs to its loop and is owned by whoever holds this.
public record Intercepted(
    StreamSocket socket, ClientAddress client, OriginalDst dst, boolean direct) {}
