package io.tailwater.agent.dataplane.http;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.socket.ChannelInputShutdownEvent;
import io.netty.handler.codec.DecoderResult;
import io.netty.handler.codec.http.DefaultHttpRequest;
import io.netty.handler.codec.http.HttpDecoderConfig;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpRequestDecoder;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.LastHttpContent;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// Netty's request decoder, shown a head only when it is whole and strictly well formed, and
/// stopped after each request until the next one is wanted: pipelined requests wait as bytes, and
/// what follows a request to upgrade is never read as HTTP.
final class RequestDecoder extends HttpRequestDecoder {
  private final HeadScanner scanner;
  private final Runnable partialHead;
  private final Runnable inputHeld;
  private boolean inHead = true;
  private boolean toldPartial;
  private boolean paused;
  private boolean bad;
  private int depth;
  private @Nullable ChannelHandlerContext context;
  private final List<Object> heldEvents = new ArrayList<>(2);

  /// @param partialHead runs when a head has begun and its end is not there yet, once per head
  /// @param inputHeld runs when the client has sent FIN behind a request that is being answered
  RequestDecoder(HttpLimits limits, Runnable partialHead, Runnable inputHeld) {
    super(
        new HttpDecoderConfig()
            .setMaxInitialLineLength(limits.headBytes())
            .setMaxHeaderSize(limits.headBytes())
            .setMaxChunkSize(MAX_PIECE)
            .setStrictLineParsing(true)
            .setUseRfc9112TransferEncoding(true));
    this.scanner = new HeadScanner(limits.headBytes(), limits.headFields());
    this.partialHead = partialHead;
    this.inputHeld = inputHeld;
  }

  /// The largest piece of a body that is passed on at once; a read is not cut up by it.
  static final int MAX_PIECE = 256 * 1024;

  @Override
  public void handlerAdded(ChannelHandlerContext ctx) throws Exception {
    context = ctx;
    super.handlerAdded(ctx);
  }

  /// Reads the next request, from the bytes that are here already and from those that come.
  void resume() {
    ChannelHandlerContext ctx = context;
    if (!paused || ctx == null || ctx.isRemoved()) {
      return;
    }
    paused = false;
    if (depth > 0) {
      return; // it is decoding, and goes on when who called it returns
    }
    try {
      channelRead(ctx, Unpooled.EMPTY_BUFFER);
      ctx.fireChannelReadComplete();
    } catch (Exception e) {
      ctx.fireExceptionCaught(e);
    }
  }

  /// Netty does not expect to be called again while it hands out what it decoded.
  @Override
  public void channelRead(ChannelHandlerContext ctx, Object input) throws Exception {
    depth++;
    try {
      super.channelRead(ctx, input);
    } finally {
      depth--;
    }
    while (depth == 0 && !paused && !heldEvents.isEmpty()) {
      super.userEventTriggered(ctx, heldEvents.removeFirst());
    }
  }

  @Override
  protected void decode(ChannelHandlerContext ctx, ByteBuf buffer, List<Object> out)
      throws Exception {
    if (bad) {
      buffer.skipBytes(buffer.readableBytes());
      return;
    }
    if (paused) {
      return;
    }
    if (inHead) {
      try {
        if (!scanner.scan(buffer)) {
          if (scanner.begun() && !toldPartial) {
            toldPartial = true;
            partialHead.run();
          }
          return;
        }
      } catch (BadRequest e) {
        bad = true;
        buffer.skipBytes(buffer.readableBytes());
        out.add(failed(e));
        return;
      }
    }
    super.decode(ctx, buffer, out);
    if (!out.isEmpty()) {
      Object last = out.getLast();
      if (last instanceof LastHttpContent) {
        paused = true;
        inHead = true;
        toldPartial = false;
        scanner.reset();
      } else if (last instanceof HttpRequest) {
        inHead = false;
      }
    }
  }

  private static HttpRequest failed(BadRequest why) {
    HttpRequest request = new DefaultHttpRequest(HttpVersion.HTTP_1_1, HttpMethod.GET, "/");
    request.setDecoderResult(DecoderResult.failure(why));
    return request;
  }

  @Override
  protected void handlerRemoved0(ChannelHandlerContext ctx) throws Exception {
    super.handlerRemoved0(ctx);
    heldEvents.forEach(ctx::fireUserEventTriggered);
    heldEvents.clear();
  }

  /// While a request waits its turn as bytes, the end of the input waits behind it: Netty throws
  /// away what is not decoded by then.
  @Override
  public void userEventTriggered(ChannelHandlerContext ctx, Object event) throws Exception {
    if (paused && (event instanceof ChannelInputShutdownEvent || !heldEvents.isEmpty())) {
      heldEvents.add(event);
      inputHeld.run();
      return;
    }
    super.userEventTriggered(ctx, event);
  }
}
