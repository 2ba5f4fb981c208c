package io.tailwater.agent.dataplane.accept;

import io.netty.channel.Channel;
import io.tailwater.agent.traffic.ClientAddress;
import io.tailwater.agent.traffic.OriginalDst;

/// A captured connection. `direct` tells that a capture port was dialled itself: relaying it would
/// loop. The channel belongs to its loop, does not read by itself, and is owned by whoever holds
/// this.
public final class Intercepted {
  private final Channel channel;
  private final ClientAddress client;
  private final OriginalDst dst;
  private final boolean direct;

  Intercepted(Channel channel, ClientAddress client, OriginalDst dst, boolean direct) {
    this.channel = channel;
    this.client = client;
    this.dst = dst;
    this.direct = direct;
  }

  public Channel channel() {
    return channel;
  }

  public ClientAddress client() {
    return client;
  }

  public OriginalDst dst() {
    return dst;
  }

  public boolean direct() {
    return direct;
  }
}
