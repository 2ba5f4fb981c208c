package io.tailwater.agent.dataplane.http;

import io.netty.channel.EventLoop;
import io.netty.handler.codec.http.DefaultHttpResponse;
import io.netty.handler.codec.http.DefaultLastHttpContent;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaders;
import io.netty.handler.codec.http.HttpObject;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.LastHttpContent;
import io.netty.util.ReferenceCountUtil;
import io.netty.util.concurrent.ScheduledFuture;
import io.tailwater.agent.dataplane.http.Upstream.RequestEnd;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.dataplane.route.RequestPolicy;
import io.tailwater.agent.traffic.Refusal;
import java.time.Duration;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/// One request and its response, whatever the client and the destination speak:
///
/// ```
/// start ─▶ route ─▶ take a leg ─▶ head, then body as it comes ─▶ response as it comes ─▶ over
///            │          │  ▲                                         │
///            └─ answer ◀┘  └──────────── once more ◀─────────────────┘
/// ```
///
/// Each side is read only while the other can take more, so that one read and one write buffer are
/// all that a body occupies. Everything on the connection's loop.
final class Exchange implements Leg.Listener {
  private static final Set<String> IDEMPOTENT =
      Set.of("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE");

  /// Between attempts; Envoy's base interval.
  private static final long BACK_OFF_MILLIS = 25;

  /// More interim responses than this are no response.
  private static final int MAX_INTERIM = 16;

  private final Downstream down;
  private final RequestHead head;
  private final Upstreams upstreams;
  private final UpstreamPool pool;
  private final HttpObserver observer;
  private final EventLoop loop;
  private final long startedNanos;

  private @Nullable Request request;
  private Upstreams.@Nullable Routed routed;
  private @Nullable Upstream upstream;
  private Upstream.@Nullable RequestCounter counter;
  private RequestEnd end = RequestEnd.RESET;
  private @Nullable Leg leg;
  private int attempts;
  private boolean requestRead;
  private boolean bodyAsked;
  private boolean reconnected;
  private boolean retrying;
  private boolean interim;
  private int interims;
  private @Nullable HttpResponse switching;
  private boolean responseBegun;
  private boolean keepsUpstream;
  private boolean over;
  private int status;
  private Optional<String> grpcStatus = Optional.empty();
  private long sent;
  private long received;
  private long lastMoved;
  private Optional<Refusal> refusal = Optional.empty();
  private String detail = "";
  private @Nullable ScheduledFuture<?> wholeTimer;
  private @Nullable ScheduledFuture<?> tryTimer;

  Exchange(
      Downstream down,
      RequestHead head,
      Upstreams upstreams,
      UpstreamPool pool,
      HttpObserver observer,
      EventLoop loop) {
    this.down = down;
    this.head = head;
    this.upstreams = upstreams;
    this.pool = pool;
    this.observer = observer;
    this.loop = loop;
    this.startedNanos = loop.ticker().nanoTime();
    this.lastMoved = startedNanos;
    this.requestRead = head.bodyless();
  }

  RequestHead request() {
    return head;
  }

  boolean isOver() {
    return over;
  }

  boolean isRequestRead() {
    return requestRead;
  }

  // ---- route

  void start() {
    Request asked = head.request();
    Upstreams.Routed to = upstreams.route(asked);
    request = asked;
    routed = to;
    switch (to) {
      case Upstreams.Routed.Refused(Refusal why, String text, Decision decision) ->
          refuse(why, text, LocalAnswer.of(why, decision));
      case Upstreams.Routed.To(Upstream there) -> {
        upstream = there;
        if (requestRead) {
          startTimeout(there.request());
        }
        attempt(there);
      }
    }
  }

  // ---- take a leg

  private void attempt(Upstream to) {
    attempts++;
    pool.take(
        to,
        this,
        taken -> {
          switch (taken) {
            case UpstreamPool.Taken.Got(Leg got) -> begin(to, got);
            case UpstreamPool.Taken.None(Refusal why, String text) -> {
              if (over) {
                return;
              }
              boolean again =
                  why == Refusal.CONNECT_FAILED
                      && Retrying.of(to.request().retries()).onConnectFailure();
              if (!again || !tryAgain(to)) {
                refuse(why, text);
              }
            }
          }
        });
  }

  private void begin(Upstream to, Leg got) {
    if (over) {
      got.complete(true); // unused
      return;
    }
    leg = got;
    counter = got.counter();
    got.counter().started();
    moved();
    got.head(head.forUpstream(got.http2(), to.request()), head.bodyless());
    got.flush();
    if (requestRead) {
      startTryTimeout(to.request());
    } else {
      askBody();
    }
    got.ask();
  }

  /// Another attempt, if there is one left and nothing of a body is lost. The leg is given back
  /// before.
  private boolean tryAgain(Upstream to) {
    if (!mayTryAgain(to)) {
      return false;
    }
    loop.schedule(
        () -> {
          if (!over) {
            attempt(to);
          }
        },
        BACK_OFF_MILLIS * attempts,
        TimeUnit.MILLISECONDS);
    return true;
  }

  private boolean mayTryAgain(Upstream to) {
    if (attempts > to.request().retries().attempts() || bodyAsked) {
      return false;
    }
    if (!retrying) {
      retrying = to.admit(Upstream.Place.RETRY);
    }
    return retrying;
  }

  // ---- the request's body

  private void askBody() {
    if (!requestRead) {
      bodyAsked = true;
      down.askBody();
    }
  }

  /// A piece of the request's body that was asked for; owned.
  void requestContent(HttpContent content) {
    Leg to = leg;
    if (over || to == null) {
      content.release();
      return;
    }
    if (content.decoderResult().isFailure()) {
      content.release();
      badBody(content.decoderResult().cause());
      return;
    }
    moved();
    sent += content.content().readableBytes();
    if (content instanceof LastHttpContent last) {
      requestRead = true;
      to.content(withFilteredTrailers(last));
      Upstream known = upstream;
      if (known != null) {
        startTimeout(known.request());
        startTryTimeout(known.request());
      }
    } else {
      to.content(content);
      if (to.writable()) {
        askBody();
      }
    }
  }

  private static LastHttpContent withFilteredTrailers(LastHttpContent last) {
    if (last.trailingHeaders().isEmpty()) {
      return last;
    }
    LastHttpContent filtered = new DefaultLastHttpContent(last.content(), Fields.empty());
    Fields.trailers(last.trailingHeaders(), filtered.trailingHeaders());
    return filtered;
  }

  private void badBody(@Nullable Throwable cause) {
    detail = cause == null ? "the body cannot be read" : String.valueOf(cause.getMessage());
    end(RequestEnd.CANCELLED);
    if (responseBegun) {
      tell();
      down.abort();
    } else {
      answer(new LocalAnswer(400, "the body of the request is malformed"));
    }
  }

  void requestPause() {
    Leg to = leg;
    if (to != null) {
      to.flush();
    }
  }

  // ---- the response

  @Override
  public void response(HttpObject object) {
    Upstream from = upstream;
    Leg at = leg;
    if (over || from == null || at == null) {
      ReferenceCountUtil.release(object);
      return;
    }
    moved();
    if (object.decoderResult().isFailure()) {
      ReferenceCountUtil.release(object);
      failed(from, "the destination's response is malformed", false);
    } else if (object instanceof HttpResponse response) {
      head(from, at, response);
    } else if (object instanceof HttpContent content) {
      if (switching != null) {
        content.release();
        switchProtocols(at, switching);
      } else if (interim) {
        interim = false; // the end of an interim response
        content.release();
        at.ask();
      } else {
        content(at, content);
      }
    }
  }

  private void head(Upstream from, Leg at, HttpResponse response) {
    int code = response.status().code();
    if (code == 101) {
      boolean wanted = head.upgrade().isPresent() && !at.http2() && isHandshake(response);
      if (!wanted) {
        failed(from, "the destination switched to a protocol that was not asked for", false);
        return;
      }
      switching = response;
      at.ask();
      return;
    }
    if (code < 200) {
      if (++interims > MAX_INTERIM) {
        failed(from, "too many interim responses", false);
        return;
      }
      interim = true;
      if (!head.http10()) {
        down.interim(travelling(response));
        down.flush();
      }
      if (!over) {
        at.ask();
      }
      return;
    }
    grpcStatus = grpcStatus(response.headers());
    if (head.bodyless()
        && Retrying.of(from.request().retries()).onResponse(response)
        && mayTryAgain(from)) {
      giveBack(ended(code), false);
      tryAgain(from);
      return;
    }
    keepsUpstream = keeps(response, at);
    responseBegun = true;
    status = code;
    HttpResponse out = travelling(response);
    Fields.edit(out.headers(), from.request().responseHeaders());
    down.head(out, requestRead);
    if (!over) {
      at.ask();
    }
  }

  /// gRPC says in a header or trailer of its own how it went.
  private static Optional<String> grpcStatus(HttpHeaders headers) {
    return Optional.ofNullable(headers.get("grpc-status"));
  }

  private RequestEnd ended(int code) {
    return head.isGrpc() && code < 500
        ? grpcStatus.map(RequestEnd::ofGrpc).orElse(RequestEnd.of(code))
        : RequestEnd.of(code);
  }

  /// RFC 6455 section 4.2.2: a server that switches to WebSocket proves that it has read the key.
  private boolean isHandshake(HttpResponse response) {
    boolean webSocket = head.upgrade().filter("websocket"::equalsIgnoreCase).isPresent();
    return !webSocket || response.headers().contains(HttpHeaderNames.SEC_WEBSOCKET_ACCEPT);
  }

  private static boolean keeps(HttpResponse response, Leg at) {
    if (at.http2()) {
      return true;
    }
    HttpHeaders fields = response.headers();
    boolean close =
        response.protocolVersion().equals(HttpVersion.HTTP_1_0)
            || fields.containsValue(HttpHeaderNames.CONNECTION, "close", true);
    return !close;
  }

  private static HttpResponse travelling(HttpResponse response) {
    HttpHeaders out = Fields.empty();
    Set<String> named;
    try {
      named = Fields.namedByConnection(response.headers());
    } catch (BadRequest _) {
      named = Set.of(); // a field of the connection that makes no sense is just not passed on
    }
    Fields.endToEnd(response.headers(), named, out);
    return new DefaultHttpResponse(HttpVersion.HTTP_1_1, response.status(), out);
  }

  private void content(Leg at, HttpContent content) {
    received += content.content().readableBytes();
    if (content instanceof LastHttpContent last) {
      LastHttpContent end = withFilteredTrailers(last);
      grpcStatus = grpcStatus.or(() -> grpcStatus(end.trailingHeaders()));
      giveBack(ended(status), requestRead && keepsUpstream);
      over();
      down.content(end);
      down.flush();
      tell();
      down.finished(requestRead);
    } else {
      down.content(content);
      if (!over && down.writable()) {
        at.ask();
      }
    }
  }

  @Override
  public void responsePause() {
    if (!over) {
      down.flush();
    }
  }

  @Override
  public void responseEnded(boolean refused) {
    Upstream from = upstream;
    if (over || from == null || leg == null) {
      return;
    }
    failed(from, "the destination closed the connection before the end of its response", refused);
  }

  private void failed(Upstream from, String why, boolean refused) {
    detail = why;
    Leg at = leg;
    boolean stale = at != null && at.used();
    giveBack(RequestEnd.RESET, false);
    if (responseBegun) {
      over();
      tell();
      down.abort();
      return;
    }
    if (head.bodyless() && interims == 0) {
      Retrying retries = Retrying.of(from.request().retries());
      // A kept connection may have been closed by its peer while the request was on its way
      // (RFC 9110 section 9.2.2): once, and on a new connection if there is no other.
      if (stale && !reconnected && (refused || IDEMPOTENT.contains(head.method()))) {
        reconnected = true;
        attempts--;
        attempt(from);
        return;
      }
      boolean again = refused ? retries.onRefusedStream() : retries.onReset();
      if (again && tryAgain(from)) {
        return;
      }
    }
    answer(new LocalAnswer(502, why));
  }

  // ---- switch protocols

  private void switchProtocols(Leg at, HttpResponse response) {
    responseBegun = true;
    status = 101;
    HttpResponse out = travelling(response);
    head.upgrade()
        .ifPresent(protocol -> {
          String named = response.headers().get(HttpHeaderNames.UPGRADE);
          out.headers().set(HttpHeaderNames.UPGRADE, named == null ? protocol : named);
          out.headers().set(HttpHeaderNames.CONNECTION, "upgrade");
        });
    cancelTimers();
    down.tunnel(out, at);
  }

  /// The tunnel after 101 is over.
  void tunnelled(long toUpstream, long toClient, boolean inOrder) {
    if (over) {
      return;
    }
    sent += toUpstream;
    received += toClient;
    end(RequestEnd.SUCCESS);
    if (!inOrder) {
      detail = "the tunnel was reset";
    }
    tell();
  }

  // ---- answers of our own

  private void refuse(Refusal why, String text) {
    refuse(why, text, LocalAnswer.of(why));
  }

  private void refuse(Refusal why, String text, LocalAnswer answer) {
    refusal = Optional.of(why);
    detail = text;
    answer(answer);
  }

  private void answer(LocalAnswer answer) {
    over();
    responseBegun = true;
    status = answer.status();
    down.head(answer.head(), requestRead);
    down.content(answer.last(head.isHead()));
    down.flush();
    tell();
    down.finished(requestRead);
  }

  // ---- what may happen at any time

  @Override
  public void legWritable() {
    Leg to = leg;
    if (!over && to != null && to.writable()) {
      askBody();
    }
  }

  /// The client can take more of the response.
  void clientWritable() {
    Leg at = leg;
    if (!over && at != null && responseBegun && switching == null) {
      at.ask();
    }
  }

  /// The client went away, or stopped in the middle of its request.
  void clientGone(String why) {
    if (over) {
      return;
    }
    detail = why;
    end(responseBegun && status < 500 ? RequestEnd.SUCCESS : RequestEnd.CANCELLED);
    tell();
  }

  /// Ends it when nothing moved for so long.
  boolean checkIdle(Duration idle) {
    if (over || switching != null) {
      return false;
    }
    if (loop.ticker().nanoTime() - lastMoved < idle.toNanos()) {
      return false;
    }
    timedOut("nothing moved for the idle time");
    return true;
  }

  private void startTimeout(RequestPolicy policy) {
    policy
        .timeout()
        .ifPresent(t ->
            wholeTimer =
                loop.schedule(
                    () -> timedOut("the request's timeout passed"),
                    t.toNanos(),
                    TimeUnit.NANOSECONDS));
  }

  private void startTryTimeout(RequestPolicy policy) {
    policy
        .retries()
        .perTryTimeout()
        .ifPresent(
            t -> tryTimer = loop.schedule(this::tryTimedOut, t.toNanos(), TimeUnit.NANOSECONDS));
  }

  private void tryTimedOut() {
    Upstream to = upstream;
    if (over || to == null || responseBegun) {
      return; // Envoy too lets a response that has begun go on until the whole timeout
    }
    giveBack(RequestEnd.TIMEOUT, false);
    boolean again = Retrying.of(to.request().retries()).onReset();
    if (!again || !tryAgain(to)) {
      timedOut("the timeout of an attempt passed");
    }
  }

  private void timedOut(String why) {
    if (over || switching != null) {
      return;
    }
    detail = why;
    end(RequestEnd.TIMEOUT);
    if (responseBegun) {
      tell();
      down.abort();
    } else {
      answer(new LocalAnswer(504, why));
    }
  }

  private void moved() {
    lastMoved = loop.ticker().nanoTime();
  }

  // ---- over

  private void giveBack(RequestEnd how, boolean reusable) {
    Leg at = leg;
    leg = null;
    end = how;
    cancel(tryTimer);
    if (at != null) {
      at.counter().ended(how);
      if (reusable) {
        at.complete(true);
      } else {
        at.cancel();
      }
    }
  }

  private void end(RequestEnd how) {
    giveBack(how, false);
    over();
  }

  private void over() {
    over = true;
    cancelTimers();
    Upstream to = upstream;
    if (retrying && to != null) {
      retrying = false;
      to.left(Upstream.Place.RETRY);
    }
  }

  private void cancelTimers() {
    cancel(wholeTimer);
    cancel(tryTimer);
  }

  private static void cancel(@Nullable ScheduledFuture<?> timer) {
    if (timer != null) {
      timer.cancel(false);
    }
  }

  private void tell() {
    observer.ended(
        new RequestRecord(
            head.method(),
            head.authority().text(),
            head.shownPath(),
            head.http2(),
            status,
            sent,
            received,
            loop.ticker().nanoTime() - startedNanos,
            end,
            Optional.ofNullable(request),
            Optional.ofNullable(routed),
            Optional.ofNullable(counter),
            refusal,
            detail));
  }
}
