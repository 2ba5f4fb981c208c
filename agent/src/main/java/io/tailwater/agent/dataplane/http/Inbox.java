package io.tailwater.agent.dataplane.http;

import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.socket.ChannelInputShutdownEvent;
import io.netty.handler.codec.http.HttpObject;
import io.netty.handler.codec.http2.Http2Exception;
import io.netty.handler.codec.http2.Http2ResetFrame;
import io.netty.util.ReferenceCountUtil;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// The last handler of a channel that speaks HTTP objects: hands them out one by one as they are
/// asked for, the end of the input after them. What one read of the channel brought waits here;
/// there is no further read before it is taken.
final class Inbox extends ChannelInboundHandlerAdapter {
  private final Reader reader;
  private final ArrayDeque<HttpObject> waiting = new ArrayDeque<>();
  private final List<ByteBuf> raw = new ArrayList<>(0);
  private @Nullable ChannelHandlerContext context;
  private boolean wanted;
  private boolean handing;
  private boolean ended;
  private boolean endTold;
  private boolean removed;

  /// Who takes what comes.
  interface Reader {
    /// An object that was asked for; the reader owns it.
    void object(HttpObject object);

    /// Nothing more comes, after all objects: FIN, a closed or reset connection or stream. Told
    /// whether or not it was asked for, at most once.
    void ended();

    /// What was handed out so far may be flushed on.
    void pause();

    /// The channel can take more, or cannot.
    void writabilityChanged();

    /// An HTTP/2 stream was reset by its peer.
    default void reset(long errorCode) {}
  }

  Inbox(Reader reader) {
    this.reader = reader;
  }

  @Override
  public void handlerAdded(ChannelHandlerContext ctx) {
    context = ctx;
  }

  /// Wants one more object.
  void ask() {
    wanted = true;
    handOut();
    ChannelHandlerContext ctx = context;
    if (wanted && !handing && !ended && ctx != null && waiting.isEmpty()) {
      ctx.read();
    }
  }

  private void handOut() {
    if (handing) {
      return;
    }
    handing = true;
    boolean any = false;
    try {
      while (wanted && !waiting.isEmpty()) {
        wanted = false;
        any = true;
        reader.object(waiting.removeFirst());
      }
      if (ended && !endTold && waiting.isEmpty()) {
        endTold = true;
        reader.ended();
      }
    } finally {
      handing = false;
    }
    if (any) {
      reader.pause();
    }
    ChannelHandlerContext ctx = context;
    if (any && wanted && !ended && ctx != null && !removed) {
      ctx.read();
    }
  }

  @Override
  public void channelRead(ChannelHandlerContext ctx, Object message) {
    if (endTold) {
      ReferenceCountUtil.release(message);
    } else if (message instanceof HttpObject object) {
      waiting.addLast(object);
      handOut();
    } else if (message instanceof ByteBuf bytes) {
      raw.add(bytes); // what follows a switch of protocols
    } else {
      ReferenceCountUtil.release(message);
    }
  }

  @Override
  public void channelReadComplete(ChannelHandlerContext ctx) {
    if (wanted && !ended) {
      ctx.read(); // what came was no object
    }
  }

  /// What came after the last HTTP object, when the protocol is switched. Once.
  List<ByteBuf> takeRaw() {
    List<ByteBuf> taken = List.copyOf(raw);
    raw.clear();
    return taken;
  }

  boolean hasEnded() {
    return ended;
  }

  private void end() {
    if (!ended) {
      ended = true;
      handOut();
    }
  }

  @Override
  public void userEventTriggered(ChannelHandlerContext ctx, Object event) {
    if (event instanceof ChannelInputShutdownEvent) {
      end();
    } else if (event instanceof Http2ResetFrame reset) {
      reader.reset(reset.errorCode());
      end();
    }
    ReferenceCountUtil.release(event);
  }

  @Override
  public void channelInactive(ChannelHandlerContext ctx) {
    end();
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext ctx, Throwable failure) {
    Failures.note(failure);
    end();
    if (!(failure instanceof Http2Exception)) { // after those Netty resets the stream by itself
      ctx.close();
    }
  }

  @Override
  public void channelWritabilityChanged(ChannelHandlerContext ctx) {
    reader.writabilityChanged();
  }

  @Override
  public void handlerRemoved(ChannelHandlerContext ctx) {
    removed = true;
    waiting.forEach(ReferenceCountUtil::release);
    waiting.clear();
    raw.forEach(ReferenceCountUtil::release);
    raw.clear();
  }
}
