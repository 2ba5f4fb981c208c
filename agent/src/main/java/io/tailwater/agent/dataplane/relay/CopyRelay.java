package io.tailwater.agent.dataplane.relay;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelOutboundBuffer;
import io.netty.channel.socket.ChannelInputShutdownEvent;
import io.netty.channel.socket.ChannelInputShutdownReadComplete;
import io.netty.channel.socket.DuplexChannel;
import io.netty.channel.uring.IoUringSocketChannel;
import io.netty.channel.uring.TailwaterIoUring;
import io.netty.handler.ssl.SslCloseCompletionEvent;
import io.netty.handler.ssl.SslHandler;
import io.netty.util.ReferenceCountUtil;
import io.tailwater.agent.dataplane.transport.StreamSocket;
import io.tailwater.agent.traffic.Grade;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Reads from one channel and writes to the other, on any transport. A channel is asked for bytes
/// only when the other can take them, so at most one read and the write buffer (Netty's high-water
/// mark, 64 KiB) are in memory per direction.
public final class CopyRelay extends Relay {
  private static final Logger LOG = LoggerFactory.getLogger(CopyRelay.class);

  /// How long bytes for a half-closed, slow peer may wait on io_uring.
  private static final long NUDGE_MILLIS = 40;

  private boolean showFirst;
  private int openDirections = 2;

  public CopyRelay(
      StreamSocket client,
      StreamSocket upstream,
      RelayObserver observer,
      long idleNanos,
      long now) {
    super(client, upstream, observer, idleNanos, now);
  }

  @Override
  public Grade grade() {
    return Grade.COPY;
  }

  @Override
  public void start(ByteBuf readAhead, boolean show) {
    showFirst = show;
    boolean clientInputRead = client.inputRead();
    client.channel(c -> upstream.channel(u -> begin(c, u, readAhead, clientInputRead)));
  }

  private void begin(Channel c, Channel u, ByteBuf readAhead, boolean clientInputRead) {
    if (isOver() || !c.isOpen() || !u.isOpen()) {
      readAhead.release();
      end(new RelayEnd.Reset(!c.isOpen()));
      return;
    }
    Direction fromClient = new Direction(c, u, true);
    Direction fromUpstream = new Direction(u, c, false);
    fromClient.opposite = fromUpstream;
    fromUpstream.opposite = fromClient;
    c.pipeline().addLast(fromClient);
    u.pipeline().addLast(fromUpstream);
    if (readAhead.isReadable()) {
      int length = readAhead.readableBytes();
      u.writeAndFlush(readAhead).addListener(written -> account(written.isSuccess(), length, true));
    } else {
      readAhead.release();
    }
    if (clientInputRead) {
      fromClient.inputEnded();
    } else {
      fromClient.ask();
    }
    fromUpstream.ask();
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
    private final boolean isClient;
    private boolean done;

    private boolean nudging;

    /// A read was asked for and has not come yet.
    private boolean asked;

    private Direction opposite;

    @SuppressWarnings("NullAway.Init") // set before it is installed
    Direction(Channel from, Channel to, boolean isClient) {
      this.from = from;
      this.to = to;
      this.isClient = isClient;
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) {
      if (!(message instanceof ByteBuf bytes) || isOver()) {
        ReferenceCountUtil.release(message);
        return;
      }
      moved();
      if (isClient && showFirst) {
        showFirst = false;
        observer.firstClientBytes(bytes);
      }
      int length = bytes.readableBytes();
      to.write(bytes).addListener(written -> account(written.isSuccess(), length, isClient));
    }

    @Override
    public void channelReadComplete(ChannelHandlerContext ctx) {
      to.flush();
      opposite.nudge();
      boolean unasked = !asked;
      asked = false;
      if (isOver() || done) {
        return;
      }
      // Netty reads by itself when the peer has sent a FIN or a reset. On io_uring it reads all
      // there
      // is and stops just before what it was for, and would not learn of a reset while we wait.
      if (to.isWritable() || (unasked && from instanceof IoUringSocketChannel)) {
        ask();
      }
    }

    /// Seen on Linux 6.18 with Netty 4.2.18: once the input of a socket is shut, io_uring does not
    /// tell any more that it can be written to again, and what is queued for a slow peer would lie
    /// there until the idle timeout. So it is tried now and then.
    private void nudge() {
      if (done && !nudging && from instanceof IoUringSocketChannel socket && hasQueued(socket)) {
        nudging = true;
        socket
            .eventLoop()
            .schedule(
                () -> {
                  nudging = false;
                  if (!isOver()) {
                    TailwaterIoUring.tryWritingAgain(socket);
                    nudge();
                  }
                },
                NUDGE_MILLIS,
                TimeUnit.MILLISECONDS);
      }
    }

    private static boolean hasQueued(Channel channel) {
      ChannelOutboundBuffer queued = channel.unsafe().outboundBuffer();
      return queued != null && !queued.isEmpty();
    }

    private void ask() {
      asked = true;
      from.read();
    }

    @Override
    public void channelWritabilityChanged(ChannelHandlerContext ctx) {
      // `from` can take bytes again: ask the other side for some
      if (from.isWritable() && !isOver()) {
        opposite.ask();
      }
    }

    @Override
    public void userEventTriggered(ChannelHandlerContext ctx, Object event) {
      if (event instanceof ChannelInputShutdownEvent) {
        ask(); // bytes may still be waiting in the socket; the next event says that there are none
      } else if (event instanceof ChannelInputShutdownReadComplete
          || event instanceof SslCloseCompletionEvent) {
        inputEnded();
      }
    }

    private void inputEnded() {
      if (done || isOver()) {
        return;
      }
      done = true;
      moved();
      nudge();
      // The empty write completes after all bytes before it.
      to.writeAndFlush(Unpooled.EMPTY_BUFFER)
          .addListener(_ ->
              shutOutput(to)
                  .addListener(shut -> {
                    if (!shut.isSuccess()) {
                      end(new RelayEnd.Reset(!isClient));
                    } else if (--openDirections == 0) {
                      end(new RelayEnd.Finished());
                    }
                  }));
    }

    /// Of TLS with close_notify: a FIN alone would look as if the rest were cut off.
    private static ChannelFuture shutOutput(Channel channel) {
      SslHandler tls = channel.pipeline().get(SslHandler.class);
      return tls != null ? tls.closeOutbound() : ((DuplexChannel) channel).shutdownOutput();
    }

    @Override
    public void channelInactive(ChannelHandlerContext ctx) {
      // Netty closes a channel by itself only after a failure; an orderly end comes as an event.
      end(new RelayEnd.Reset(isClient));
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable failure) {
      end(new RelayEnd.Reset(isClient));
      if (!isConnectionLoss(failure)) {
        LOG.error("relay failed", failure);
      }
    }
  }
}
