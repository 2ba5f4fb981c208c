package io.tailwater.agent.dataplane.http;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelDuplexHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelPromise;
import io.netty.handler.codec.DecoderResult;
import io.netty.handler.codec.http.DefaultHttpContent;
import io.netty.handler.codec.http.DefaultHttpRequest;
import io.netty.handler.codec.http.DefaultHttpResponse;
import io.netty.handler.codec.http.DefaultLastHttpContent;
import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaders;
import io.netty.handler.codec.http.HttpMessage;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.LastHttpContent;
import io.netty.handler.codec.http2.DefaultHttp2DataFrame;
import io.netty.handler.codec.http2.DefaultHttp2Headers;
import io.netty.handler.codec.http2.DefaultHttp2HeadersFrame;
import io.netty.handler.codec.http2.Http2DataFrame;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.handler.codec.http2.Http2HeadersFrame;
import io.netty.handler.ssl.SslHandler;
import io.netty.util.AsciiString;
import io.netty.util.ReferenceCountUtil;
import java.util.Iterator;
import java.util.Locale;
import java.util.Map;

/// The frames of one HTTP/2 stream as the objects of one HTTP message, and back. Pseudo-header
/// fields, names and values are checked as RFC 9113 section 8.2 and 8.3 want it; what breaks them
/// comes out as a message that failed.
final class Http2Messages extends ChannelDuplexHandler {
  private final boolean server;
  private final int maxFields;
  private boolean headRead;

  /// @param server whether requests are read here and responses written
  Http2Messages(boolean server, int maxFields) {
    this.server = server;
    this.maxFields = maxFields;
  }

  /// A head that the stream ended with: marks a message of which nothing follows.
  static boolean endsStream(HttpMessage message) {
    return message instanceof Whole;
  }

  /// The same request as one of which nothing follows: its head ends the stream.
  static HttpRequest ending(HttpRequest request) {
    return new WholeRequest(request.method(), request.uri(), request.headers());
  }

  private interface Whole {}

  private static final class WholeRequest extends DefaultHttpRequest implements Whole {
    WholeRequest(HttpMethod method, String path, HttpHeaders fields) {
      super(HttpVersion.HTTP_1_1, method, path, fields);
    }
  }

  @Override
  public void channelRead(ChannelHandlerContext ctx, Object frame) {
    if (frame instanceof Http2HeadersFrame headers) {
      headers(ctx, headers);
    } else if (frame instanceof Http2DataFrame data) {
      ByteBuf content = data.content(); // the frame's reference goes on with the bytes
      ctx.fireChannelRead(
          data.isEndStream()
              ? new DefaultLastHttpContent(content)
              : new DefaultHttpContent(content));
    } else {
      ReferenceCountUtil.release(frame);
    }
  }

  private void headers(ChannelHandlerContext ctx, Http2HeadersFrame frame) {
    if (headRead) {
      LastHttpContent last = new DefaultLastHttpContent(Unpooled.EMPTY_BUFFER, Fields.empty());
      try {
        regular(frame.headers(), last.trailingHeaders());
        if (!frame.isEndStream()) {
          throw new BadRequest("trailers that do not end the stream");
        }
      } catch (BadRequest e) {
        last.setDecoderResult(DecoderResult.failure(e));
      }
      ctx.fireChannelRead(last);
      return;
    }
    HttpMessage message;
    try {
      message = server ? request(frame) : response(frame.headers());
    } catch (BadRequest e) {
      message =
          server
              ? new DefaultHttpRequest(HttpVersion.HTTP_1_1, HttpMethod.GET, "/")
              : new DefaultHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.BAD_GATEWAY);
      message.setDecoderResult(DecoderResult.failure(e));
    }
    boolean interim =
        message instanceof HttpResponse response
            && response.status().code() < 200
            && !response.decoderResult().isFailure();
    headRead = !interim;
    ctx.fireChannelRead(message);
    if (interim || frame.isEndStream()) {
      ctx.fireChannelRead(LastHttpContent.EMPTY_LAST_CONTENT);
    }
  }

  private HttpRequest request(Http2HeadersFrame frame) throws BadRequest {
    Http2Headers in = frame.headers();
    CharSequence method = in.method();
    CharSequence path = in.path();
    if (method == null || method.isEmpty()) {
      throw new BadRequest("there is no :method");
    }
    if (!method.chars().allMatch(HeadScanner::isToken)) {
      throw new BadRequest("the method is no token");
    }
    HttpHeaders fields = Fields.empty();
    regular(in, fields);
    CharSequence authority = in.authority();
    if (authority != null) {
      String host = fields.get(HttpHeaderNames.HOST);
      if (host != null && !host.equalsIgnoreCase(authority.toString())) {
        throw new BadRequest("Host contradicts :authority");
      }
      fields.set(HttpHeaderNames.HOST, authority.toString());
    }
    if (HttpMethod.CONNECT.asciiName().contentEquals(method)) {
      throw new BadRequest(405, "CONNECT is not served here");
    }
    if (path == null || path.isEmpty()) {
      throw new BadRequest("there is no :path");
    }
    if (!path.chars().allMatch(c -> c > ' ' && c < 0x7f)) {
      throw new BadRequest("the target has a character that a URI cannot have");
    }
    if (in.contains(":protocol")) {
      throw new BadRequest("extended CONNECT is not served here");
    }
    CharSequence scheme = in.scheme();
    if (scheme == null
        || !(AsciiString.contentEqualsIgnoreCase(scheme, "http")
            || AsciiString.contentEqualsIgnoreCase(scheme, "https"))) {
      throw new BadRequest("the :scheme is not http");
    }
    HttpMethod named = HttpMethod.valueOf(method.toString());
    return frame.isEndStream()
        ? new WholeRequest(named, path.toString(), fields)
        : new DefaultHttpRequest(HttpVersion.HTTP_1_1, named, path.toString(), fields);
  }

  private HttpResponse response(Http2Headers in) throws BadRequest {
    HttpHeaders fields = Fields.empty();
    regular(in, fields);
    CharSequence status = in.status();
    if (status == null
        || status.length() != 3
        || !status.chars().allMatch(c -> c >= '0' && c <= '9')
        || status.charAt(0) == '0') {
      throw new BadRequest("the :status is no status");
    }
    if (fields.getAll(HttpHeaderNames.CONTENT_LENGTH).size() > 1) {
      throw new BadRequest("there is more than one Content-Length");
    }
    return new DefaultHttpResponse(
        HttpVersion.HTTP_1_1,
        HttpResponseStatus.valueOf(Integer.parseInt(status.toString())),
        fields);
  }

  /// Everything but pseudo-header fields.
  private void regular(Http2Headers from, HttpHeaders to) throws BadRequest {
    int count = 0;
    for (Map.Entry<CharSequence, CharSequence> field : from) {
      CharSequence name = field.getKey();
      if (name.isEmpty()) {
        throw new BadRequest("a field without a name");
      }
      if (name.charAt(0) == ':') {
        if (headRead) {
          throw new BadRequest("a pseudo-header field among the trailers");
        }
        continue;
      }
      if (++count > maxFields) {
        throw new BadRequest(431, "more than " + maxFields + " fields");
      }
      if (!name.chars().allMatch(c -> HeadScanner.isToken(c) && !(c >= 'A' && c <= 'Z'))) {
        throw new BadRequest("a field name that is not allowed in HTTP/2");
      }
      CharSequence value = field.getValue();
      if (!value.chars().allMatch(c -> (c >= ' ' && c != 0x7f) || c == '\t')) {
        throw new BadRequest("a control character in a field");
      }
      switch (name.toString()) {
        case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade" ->
            throw new BadRequest("a field of the connection in HTTP/2");
        case "te" -> {
          if (!AsciiString.contentEqualsIgnoreCase(value, "trailers")) {
            throw new BadRequest("a TE other than trailers");
          }
        }
        default -> {}
      }
      to.add(name, value);
    }
  }

  @Override
  public void write(ChannelHandlerContext ctx, Object message, ChannelPromise promise) {
    switch (message) {
      case HttpRequest request -> ctx.write(head(ctx, request), promise);
      case HttpResponse response -> ctx.write(head(response), promise);
      case LastHttpContent last -> {
        if (last.trailingHeaders().isEmpty()) {
          ctx.write(new DefaultHttp2DataFrame(last.content(), true), promise);
        } else {
          if (last.content().isReadable()) {
            ctx.write(new DefaultHttp2DataFrame(last.content(), false));
          } else {
            last.release();
          }
          Http2Headers trailers = new DefaultHttp2Headers(false);
          regularTo(last.trailingHeaders(), trailers);
          ctx.write(new DefaultHttp2HeadersFrame(trailers, true), promise);
        }
      }
      case HttpContent content ->
          ctx.write(new DefaultHttp2DataFrame(content.content(), false), promise);
      default -> ctx.write(message, promise);
    }
  }

  private static DefaultHttp2HeadersFrame head(ChannelHandlerContext ctx, HttpRequest request) {
    boolean tls = ctx.channel().parent().pipeline().get(SslHandler.class) != null;
    Http2Headers out =
        new DefaultHttp2Headers(false)
            .method(request.method().asciiName())
            .scheme(tls ? "https" : "http")
            .path(request.uri());
    String host = request.headers().get(HttpHeaderNames.HOST);
    if (host != null) {
      out.authority(host);
    }
    regularTo(request.headers(), out);
    return new DefaultHttp2HeadersFrame(out, endsStream(request));
  }

  private static DefaultHttp2HeadersFrame head(HttpResponse response) {
    Http2Headers out = new DefaultHttp2Headers(false).status(response.status().codeAsText());
    regularTo(response.headers(), out);
    return new DefaultHttp2HeadersFrame(out, false);
  }

  private static void regularTo(HttpHeaders from, Http2Headers to) {
    for (Iterator<Map.Entry<CharSequence, CharSequence>> all = from.iteratorCharSequence();
        all.hasNext(); ) {
      Map.Entry<CharSequence, CharSequence> field = all.next();
      String name = field.getKey().toString().toLowerCase(Locale.ROOT);
      if (!name.equals("host")) {
        to.add(AsciiString.of(name), field.getValue());
      }
    }
  }
}
