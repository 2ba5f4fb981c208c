package io.tailwater.agent.dataplane.http;

import io.netty.channel.ChannelDuplexHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.socket.ChannelInputShutdownEvent;
import io.netty.channel.socket.ChannelInputShutdownReadComplete;

/// Stands before a decoder and tells it of the input's end when everything was read. Netty may tell
/// of it before, and its decoders throw away what they cannot decode at that moment.
final class InputEnd extends ChannelDuplexHandler {
  private boolean ended;

  /// There is nothing to read behind the end; Netty would watch the socket for it all the same.
  @Override
  public void read(ChannelHandlerContext ctx) {
    if (!ended) {
      ctx.read();
    }
  }

  @Override
  public void userEventTriggered(ChannelHandlerContext ctx, Object event) {
    if (event instanceof ChannelInputShutdownEvent) {
      ctx.read(); // the next event says that there is nothing left
    } else if (event instanceof ChannelInputShutdownReadComplete) {
      ended = true;
      ctx.fireUserEventTriggered(ChannelInputShutdownEvent.INSTANCE);
    } else {
      ctx.fireUserEventTriggered(event);
    }
  }
}
