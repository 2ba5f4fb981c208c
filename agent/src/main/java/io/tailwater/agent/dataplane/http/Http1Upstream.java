package io.tailwater.agent.dataplane.http;

import io.netty.channel.Channel;
import io.netty.handler.codec.http.HttpClientCodec;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpDecoderConfig;
import io.netty.handler.codec.http.HttpObject;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.LastHttpContent;
import io.netty.util.ReferenceCountUtil;
import io.tailwater.agent.dataplane.route.ConnectionPolicy;

/// An HTTP/1 connection to a destination: the leg of one request after the other.
final class Http1Upstream extends UpstreamLeg implements Kept {
  private final UpstreamPool pool;
  private final Upstream to;
  private final Channel channel;
  private final Upstream.RequestCounter counter;
  private final HttpClientCodec codec;
  private int requests;
  private boolean retired;
  private boolean parked;
  private long parkedAt;

  Http1Upstream(
      UpstreamPool pool,
      Upstream to,
      Channel channel,
      Upstream.RequestCounter counter,
      HttpLimits limits) {
    this.pool = pool;
    this.to = to;
    this.channel = channel;
    this.counter = counter;
    this.codec =
        new HttpClientCodec(
            new HttpDecoderConfig()
                .setMaxInitialLineLength(limits.headBytes())
                .setMaxHeaderSize(limits.headBytes())
                .setMaxChunkSize(RequestDecoder.MAX_PIECE)
                .setStrictLineParsing(true)
                .setUseRfc9112TransferEncoding(true),
            false,
            false);
    channel.config().setAutoRead(false);
    channel.pipeline().addLast(new InputEnd(), codec, inbox);
  }

  @Override
  public Object key() {
    return to.key();
  }

  @Override
  public ConnectionPolicy policy() {
    return to.connection();
  }

  void begin(Leg.Listener next) {
    parked = false;
    listener = next;
    requests++;
  }

  @Override
  public boolean rests() {
    return parked;
  }

  @Override
  public long restingSince() {
    return parkedAt;
  }

  @Override
  public void retire() {
    retired = true;
    if (parked) {
      close();
    }
  }

  @Override
  public void head(HttpRequest request, boolean whole) {
    channel.write(request);
    if (whole) {
      channel.write(LastHttpContent.EMPTY_LAST_CONTENT);
    }
  }

  @Override
  public void content(HttpContent content) {
    channel.write(content);
  }

  @Override
  public void flush() {
    channel.flush();
  }

  @Override
  public boolean writable() {
    return channel.isWritable();
  }

  @Override
  public boolean http2() {
    return false;
  }

  @Override
  public boolean used() {
    return requests > 1;
  }

  @Override
  public Upstream.RequestCounter counter() {
    return counter;
  }

  @Override
  public void complete(boolean reusable) {
    listener = null;
    boolean keeps =
        reusable && !retired && channel.isActive() && !inbox.hasEnded() && !usedUp(requests);
    if (keeps) {
      parked = true;
      parkedAt = channel.eventLoop().ticker().nanoTime();
      pool.park(this);
      inbox.ask(); // to learn that it is closed
    } else {
      close();
    }
  }

  @Override
  public void cancel() {
    listener = null;
    close();
  }

  @Override
  public void close() {
    pool.gone(this);
    channel.close();
  }

  /// Lets go of the codec: the connection carries bytes from now on. `next` is the handler that
  /// takes them, those that are here already first.
  void becomeRaw(Tunnel.Side next) {
    pool.gone(this);
    listener = null;
    channel.pipeline().addLast(next);
    inbox.takeRaw().forEach(next::take);
    boolean ended = inbox.hasEnded();
    channel.pipeline().remove(inbox);
    channel.pipeline().remove(codec);
    if (ended) {
      next.inputEnded();
    }
  }

  @Override
  public Channel channel() {
    return channel;
  }

  // ---- what comes

  @Override
  public void object(HttpObject object) {
    Leg.Listener to = listener;
    if (to == null) {
      ReferenceCountUtil.release(object); // nobody asked
      close();
    } else {
      to.response(object);
    }
  }

  @Override
  public void ended() {
    Leg.Listener to = listener;
    pool.gone(this);
    if (to != null) {
      to.responseEnded(false);
    } else {
      channel.close();
    }
  }
}
