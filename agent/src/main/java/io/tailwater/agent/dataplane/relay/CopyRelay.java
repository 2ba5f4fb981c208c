package io.tailwater.agent.dataplane.relay;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.socket.ChannelInputShutdownEvent;
import io.netty.channel.socket.ChannelInputShutdownReadComplete;
import io.netty.channel.socket.DuplexChannel;
import io.netty.util.ReferenceCountUtil;
import io.tailwater.agent.traffic.Grade;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Reads from one channel and writes to the other, on any transport. A channel is asked for bytes
/// only when the other can take them, so at most one read and the write buffer (Netty's high-water
/// mark, 64 KiB) are in memory per direction.
public final class CopyRelay extends Relay {
  private static final Logger LOG = LoggerFactory.getLogger(CopyRelay.class);

  private boolean showFirst;
  private int openDirections = 2;

  public CopyRelay(
      Channel client, Channel upstream, RelayObserver observer, long idleNanos, long now) {
    super(client, upstream, observer, idleNanos, now);
  }

  @Override
  public Grade grade() {
    return Grade.COPY;
  }

  @Override
  public void start(ByteBuf readAhead, boolean show, boolean clientInputRead) {
    showFirst = show;
    Direction fromClient = new Direction(client, upstream, true);
    client.pipeline().addLast(fromClient);
    upstream.pipeline().addLast(new Direction(upstream, client, false));
    if (readAhead.isReadable()) {
      int length = readAhead.readableBytes();
      upstream
          .writeAndFlush(readAhead)
          .addListener(written -> account(written.isSuccess(), length, true));
    } else {
      readAhead.release();
    }
    if (clientInputRead) {
      fromClient.inputEnded();
    } else {
      client.read();
    }
    upstream.read();
  }

  @Override
  void release() {
    // what is still queued for writing is released when the channels close
  }

  private void account(boolean written, int length, boolean toUpstream) {
    if (!written) {
      end(new RelayEnd.Reset(!toUpstream)); // the side that was written to is gone
    } else if (toUpstream) {
      sent += length;
    } else {
      received += length;
    }
  }

  /// One direction, installed on the channel that it reads.
  private final class Direction extends ChannelInboundHandlerAdapter {
    private final Channel from;
    private final Channel to;
    private final boolean fromClient;
    private boolean done;

    Direction(Channel from, Channel to, boolean fromClient) {
      this.from = from;
      this.to = to;
      this.fromClient = fromClient;
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) {
      if (!(message instanceof ByteBuf bytes) || isOver()) {
        ReferenceCountUtil.release(message);
        return;
      }
      moved();
      if (fromClient && showFirst) {
        showFirst = false;
        observer.firstClientBytes(bytes);
      }
      int length = bytes.readableBytes();
      to.write(bytes).addListener(written -> account(written.isSuccess(), length, fromClient));
    }

    @Override
    public void channelReadComplete(ChannelHandlerContext ctx) {
      to.flush();
      if (!isOver() && !done && to.isWritable()) {
        from.read();
      }
    }

    @Override
    public void channelWritabilityChanged(ChannelHandlerContext ctx) {
      // `from` can take bytes again: ask the other side for some
      if (from.isWritable() && !isOver()) {
        to.read();
      }
    }

    @Override
    public void userEventTriggered(ChannelHandlerContext ctx, Object event) {
      if (event instanceof ChannelInputShutdownEvent) {
        from.read(); // bytes may still be waiting in the socket; the next event says that there are
        // none
      } else if (event instanceof ChannelInputShutdownReadComplete) {
        inputEnded();
      }
    }

    private void inputEnded() {
      if (done || isOver()) {
        return;
      }
      done = true;
      moved();
      // The empty write completes after all bytes before it.
      to.writeAndFlush(Unpooled.EMPTY_BUFFER)
          .addListener(_ ->
              ((DuplexChannel) to)
                  .shutdownOutput()
                  .addListener(shut -> {
                    if (!shut.isSuccess()) {
                      end(new RelayEnd.Reset(!fromClient));
                    } else if (--openDirections == 0) {
                      end(new RelayEnd.Finished());
                    }
                  }));
    }

    @Override
    public void channelInactive(ChannelHandlerContext ctx) {
      // Netty closes a channel by itself only after a failure; an orderly end comes as an event.
      end(new RelayEnd.Reset(fromClient));
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable failure) {
      end(new RelayEnd.Reset(fromClient));
      if (!isConnectionLoss(failure)) {
        LOG.error("relay failed", failure);
      }
    }
  }
}
