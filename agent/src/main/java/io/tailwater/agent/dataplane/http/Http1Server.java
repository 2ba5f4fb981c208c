package io.tailwater.agent.dataplane.http;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.socket.ChannelInputShutdownEvent;
import io.netty.channel.socket.ChannelInputShutdownReadComplete;
import io.netty.channel.socket.DuplexChannel;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaderValues;
import io.netty.handler.codec.http.HttpObject;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.LastHttpContent;
import io.netty.util.ReferenceCountUtil;
import io.netty.util.concurrent.ScheduledFuture;
import io.tailwater.agent.dataplane.http.HttpObserver.HttpEnd;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/// A client connection that speaks HTTP/1: one request after the other, each an `Exchange`. What a
/// client sends ahead waits as bytes.
final class Http1Server implements Inbox.Reader, Downstream {
  /// After the last response: how much more of the client is read and thrown away, and how long, so
  /// that unread bytes do not turn our FIN into a reset that takes the response away from it.
  private static final int LINGER_BYTES = 256 * 1024;

  private static final Duration LINGER = Duration.ofSeconds(2);

  /// A client that has sent FIN and waits for its response looks like one that is gone: it is not
  /// waited with for as long.
  private static final Duration HALF_CLOSED_IDLE = Duration.ofSeconds(60);

  private final HttpConnection connection;
  private final Channel client;
  private final HttpLimits limits;
  private final RequestDecoder decoder;
  private final ResponseEncoder encoder = new ResponseEncoder();
  private final Inbox inbox = new Inbox(this);
  private @Nullable RequestHead waiting;
  private @Nullable Exchange exchange;
  private @Nullable ScheduledFuture<?> headTimer;
  private boolean keepAlive = true;
  private boolean closing;
  private boolean tunnelling;
  private @Nullable Tunnel tunnel;

  Http1Server(HttpConnection connection, Channel client) {
    this.connection = connection;
    this.client = client;
    this.limits = connection.limits();
    this.decoder = new RequestDecoder(limits, this::headBegun, this::halfClosed);
  }

  void start(ByteBuf ahead, boolean inputEnded) {
    client.config().setAutoRead(false);
    client.pipeline().addLast(new InputEnd(), decoder, encoder, inbox);
    headBegun();
    inbox.ask();
    if (ahead.isReadable()) {
      client.pipeline().fireChannelRead(ahead);
      client.pipeline().fireChannelReadComplete();
    } else {
      ahead.release();
    }
    if (inputEnded) {
      client.pipeline().fireUserEventTriggered(ChannelInputShutdownReadComplete.INSTANCE);
    }
  }

  // ---- requests

  private void headBegun() {
    if (headTimer == null && !closing) {
      headTimer =
          client
              .eventLoop()
              .schedule(this::headLate, limits.headTime().toNanos(), TimeUnit.NANOSECONDS);
    }
  }

  private void headComplete() {
    if (headTimer != null) {
      headTimer.cancel(false);
      headTimer = null;
    }
  }

  private void headLate() {
    headTimer = null;
    if (exchange == null && !closing && !tunnelling) {
      if (connection.fromClient() == 0) {
        connection.ending(HttpEnd.IDLE);
        closeInOrder(); // it said nothing: there is nothing to answer
      } else {
        connection.ending(HttpEnd.IDLE);
        answerAndClose(new BadRequest(408, "the request head did not come in time"), false);
      }
    }
  }

  @Override
  public void object(HttpObject object) {
    if (closing || tunnelling) {
      ReferenceCountUtil.release(object);
      return;
    }
    Exchange current = exchange;
    if (object instanceof HttpRequest request) {
      headComplete();
      read(request);
    } else if (current != null && object instanceof HttpContent content) {
      current.requestContent(content);
    } else if (waiting != null && object instanceof LastHttpContent) {
      RequestHead head = waiting;
      waiting = null;
      ReferenceCountUtil.release(object);
      begin(head);
    } else {
      ReferenceCountUtil.release(object);
    }
  }

  private void read(HttpRequest request) {
    RequestHead head;
    try {
      head = RequestHead.read(request, false, false);
    } catch (BadRequest e) {
      connection.ending(HttpEnd.BAD_REQUEST);
      answerAndClose(e, true);
      return;
    }
    if (head.bodyless()) {
      waiting = head;
      inbox.ask(); // the end of it is here already
    } else {
      begin(head);
    }
  }

  private void begin(RequestHead head) {
    keepAlive = head.keepAlive() && !connection.draining();
    encoder.answersHead(head.isHead());
    Exchange next = connection.exchange(this, head);
    exchange = next;
    next.start();
  }

  @Override
  public void pause() {
    Exchange current = exchange;
    if (current != null) {
      current.requestPause();
    }
  }

  @Override
  public void ended() {
    headComplete();
    Exchange current = exchange;
    if (tunnelling || closing) {
      return;
    }
    if (current == null) {
      closeInOrder();
    } else if (!current.isRequestRead()) {
      connection.ending(HttpEnd.CLIENT_RESET);
      current.clientGone("the client closed in the middle of its request");
      reset();
    } else {
      keepAlive = false;
    }
  }

  private void halfClosed() {
    Exchange current = exchange;
    if (current != null) {
      watchHalfClosed(current);
    }
  }

  private void watchHalfClosed(Exchange waitingFor) {
    client
        .eventLoop()
        .schedule(
            () -> {
              if (!waitingFor.isOver() && !waitingFor.checkIdle(HALF_CLOSED_IDLE)) {
                watchHalfClosed(waitingFor);
              }
            },
            HALF_CLOSED_IDLE.toNanos(),
            TimeUnit.NANOSECONDS);
  }

  @Override
  public void writabilityChanged() {
    Exchange current = exchange;
    if (current != null && client.isWritable()) {
      current.clientWritable();
    }
  }

  /// The channel is closed.
  void gone() {
    headComplete();
    closing = true;
    if (tunnel != null) {
      tunnel.clientGone();
    }
    Exchange current = exchange;
    exchange = null;
    if (current != null && !tunnelling && !current.isOver()) {
      connection.ending(HttpEnd.CLIENT_RESET);
      current.clientGone("the client went away");
    }
  }

  /// Ends it after the response that is under way.
  void drain() {
    keepAlive = false;
    if (exchange == null && waiting == null && !closing && !tunnelling) {
      closeInOrder();
    }
  }

  /// Between two requests, or a request on which nothing moves.
  void checkIdle(Duration idle) {
    Exchange current = exchange;
    if (tunnelling || closing) {
      return;
    }
    if (current != null) {
      if (current.checkIdle(idle)) {
        connection.ending(HttpEnd.IDLE);
      }
    } else if (connection.restedFor(idle)) {
      connection.ending(HttpEnd.IDLE);
      closeInOrder();
    }
  }

  // ---- Downstream

  @Override
  public void askBody() {
    inbox.ask();
  }

  @Override
  public boolean writable() {
    return client.isWritable();
  }

  @Override
  public void interim(HttpResponse response) {
    client.write(response);
    client.write(LastHttpContent.EMPTY_LAST_CONTENT);
  }

  @Override
  public void head(HttpResponse response, boolean requestRead) {
    Exchange current = exchange;
    RequestHead request = current == null ? null : current.request();
    boolean http10 = request != null && request.http10();
    boolean toHead = request != null && request.isHead();
    int code = response.status().code();
    boolean empty = toHead || code == 204 || code == 304;
    if (!empty && !response.headers().contains(HttpHeaderNames.CONTENT_LENGTH)) {
      if (http10) {
        keepAlive = false; // the end of the connection is the end of the body
      } else {
        response.headers().set(HttpHeaderNames.TRANSFER_ENCODING, HttpHeaderValues.CHUNKED);
      }
    }
    if (!requestRead || connection.draining()) {
      keepAlive = false;
    }
    if (!keepAlive) {
      response.headers().set(HttpHeaderNames.CONNECTION, HttpHeaderValues.CLOSE);
    } else if (http10) {
      response.headers().set(HttpHeaderNames.CONNECTION, HttpHeaderValues.KEEP_ALIVE);
    }
    client.write(response);
  }

  @Override
  public void content(HttpContent content) {
    client.write(content);
  }

  @Override
  public void flush() {
    client.flush();
  }

  @Override
  public void finished(boolean requestRead) {
    exchange = null;
    connection.moved();
    if (closing) {
      return;
    }
    if (!keepAlive || !requestRead || connection.draining()) {
      closeInOrder();
      return;
    }
    inbox.ask();
    decoder.resume();
    if (inbox.hasEnded() && exchange == null && waiting == null) {
      closeInOrder();
    }
  }

  @Override
  public void abort() {
    connection.ending(HttpEnd.UPSTREAM_RESET);
    exchange = null;
    reset();
  }

  @Override
  public void tunnel(HttpResponse response, Leg leg) {
    Exchange current = exchange;
    if (current == null || !(leg instanceof Http1Upstream upstream)) {
      abort();
      return;
    }
    tunnelling = true;
    client.write(response);
    client.writeAndFlush(LastHttpContent.EMPTY_LAST_CONTENT);
    Tunnel made =
        new Tunnel(
            client,
            upstream.channel(),
            limits.idleTime(),
            (toUpstream, toClient, inOrder) -> {
              if (!inOrder) {
                connection.ending(HttpEnd.UPSTREAM_RESET);
              }
              current.tunnelled(toUpstream, toClient, inOrder);
            });
    tunnel = made;
    client.pipeline().addLast(made.client());
    boolean ended = inbox.hasEnded();
    // What was read ahead of a side is written to the other as soon as its decoder goes: no encoder
    // may stand there by then.
    client.pipeline().remove(encoder);
    upstream.becomeRaw(made.upstream());
    client.pipeline().remove(inbox);
    client.pipeline().remove(decoder);
    if (ended) {
      made.client().inputEnded();
    }
    made.start();
  }

  // ---- the end

  private void answerAndClose(BadRequest bad, boolean tell) {
    keepAlive = false;
    LocalAnswer answer = new LocalAnswer(bad.status(), bad.why());
    encoder.answersHead(false);
    head(answer.head(), false);
    client.write(answer.last(false));
    if (tell) {
      connection.badRequest(bad, false);
    }
    closeInOrder();
  }

  private void reset() {
    closing = true;
    Tunnel.resetOnClose(client);
    client.close();
  }

  /// Flushes, sends FIN, and reads what the client still sends into nothing for a short while.
  private void closeInOrder() {
    if (closing) {
      return;
    }
    closing = true;
    headComplete();
    boolean ended = inbox.hasEnded();
    client
        .writeAndFlush(Unpooled.EMPTY_BUFFER)
        .addListener(written -> {
          if (!written.isSuccess() || ended || !(client instanceof DuplexChannel duplex)) {
            client.close();
            return;
          }
          duplex
              .shutdownOutput()
              .addListener(shut -> {
                if (shut.isSuccess()) {
                  linger();
                } else {
                  client.close();
                }
              });
        });
  }

  private void linger() {
    if (!client.isOpen()) {
      return;
    }
    client.pipeline().remove(inbox);
    client.pipeline().addLast(new Linger());
    client.pipeline().remove(decoder);
    client.eventLoop().schedule(() -> client.close(), LINGER.toNanos(), TimeUnit.NANOSECONDS);
    client.read();
  }

  private static final class Linger extends ChannelInboundHandlerAdapter {
    private int thrown;

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) {
      if (message instanceof ByteBuf bytes) {
        thrown += bytes.readableBytes();
      }
      ReferenceCountUtil.release(message);
      if (thrown > LINGER_BYTES) {
        ctx.close();
      }
    }

    @Override
    public void channelReadComplete(ChannelHandlerContext ctx) {
      ctx.read();
    }

    @Override
    public void userEventTriggered(ChannelHandlerContext ctx, Object event) {
      if (event instanceof ChannelInputShutdownEvent) {
        ctx.close();
      }
      ReferenceCountUtil.release(event);
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext ctx, Throwable failure) {
      ctx.close();
    }
  }
}
