package io.tailwater.agent.dataplane.http;

import io.netty.handler.codec.http.DefaultHttpRequest;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaderValues;
import io.netty.handler.codec.http.HttpHeaders;
import io.netty.handler.codec.http.HttpMethod;
import io.netty.handler.codec.http.HttpRequest;
import io.netty.handler.codec.http.HttpVersion;
import io.tailwater.agent.dataplane.route.Request;
import io.tailwater.agent.dataplane.route.RequestPolicy;
import io.tailwater.agent.dataplane.sniff.Authority;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;

/// What the head of one request means, and what is sent on for it. Immutable.
///
/// @param method as written
/// @param authority by which it is routed, and which is sent on
/// @param target in origin form (path and query), or `*`
/// @param http2 whether it came over HTTP/2
/// @param http10 whether it came over HTTP/1.0
/// @param keepAlive whether the client keeps the connection
/// @param bodyless whether nothing follows the head
/// @param expectsContinue whether the client may wait for 100 before it sends the body
/// @param upgrade the protocol that the client would switch to
/// @param fields all fields as they came
/// @param named what Connection lists
record RequestHead(
    String method,
    Authority authority,
    String target,
    boolean http2,
    boolean http10,
    boolean keepAlive,
    boolean bodyless,
    boolean expectsContinue,
    Optional<String> upgrade,
    HttpHeaders fields,
    Set<String> named) {
  private static final int MAX_LENGTH_DIGITS = 18;
  private static final int MAX_SHOWN_PATH = 1024;
  private static final Set<String> BODY_EXPECTED = Set.of("POST", "PUT", "PATCH");

  /// Reads a head whose bytes are well formed.
  ///
  /// @param endsStream over HTTP/2, whether the stream ended with the head
  static RequestHead read(HttpRequest request, boolean http2, boolean endsStream)
      throws BadRequest {
    HttpHeaders fields = request.headers();
    if (request.decoderResult().isFailure()) {
      if (request.decoderResult().cause() instanceof BadRequest bad) {
        throw bad;
      }
      bodyless(fields, http2, request.protocolVersion().equals(HttpVersion.HTTP_1_0), endsStream);
      throw new BadRequest("the request cannot be read");
    }
    String method = request.method().name();
    if (method.equals("CONNECT")) {
      throw new BadRequest(405, "CONNECT is not served here");
    }
    List<String> hosts = fields.getAll(HttpHeaderNames.HOST);
    if (hosts.size() != 1) {
      throw new BadRequest(hosts.isEmpty() ? "there is no Host" : "there is more than one Host");
    }
    Authority host = authority(hosts.getFirst(), "Host");
    boolean http10 = !http2 && request.protocolVersion().equals(HttpVersion.HTTP_1_0);
    Set<String> named = Fields.namedByConnection(fields);
    boolean bodyless = bodyless(fields, http2, http10, endsStream);
    String uri = request.uri();
    Authority authority = host;
    String target = uri;
    if (!http2 && !uri.startsWith("/") && !uri.equals("*")) {
      int end = endOfAuthority(uri);
      // RFC 9112 section 3.2.2: the target wins, and Host is rewritten from it.
      authority = authority(uri.substring("http://".length(), end), "the target's authority");
      target = uri.startsWith("/", end) ? uri.substring(end) : "/" + uri.substring(end);
    }
    if (target.indexOf('#') >= 0) {
      throw new BadRequest("the target has a fragment");
    }
    if (target.equals("*") ? !method.equals("OPTIONS") : !target.startsWith("/")) {
      throw new BadRequest("the target is not a path");
    }
    boolean expects = expects(fields, http10);
    boolean persistent = http2 || !http10 || named.contains("keep-alive");
    boolean keepAlive = persistent && !named.contains("close");
    return new RequestHead(
        method,
        authority,
        target,
        http2,
        http10,
        keepAlive,
        bodyless,
        expects,
        http2 || http10 || !bodyless ? Optional.empty() : upgrade(fields, named),
        fields,
        named);
  }

  private static Authority authority(String text, String what) throws BadRequest {
    return Authority.parse(text)
        .orElseThrow(() -> new BadRequest(what + " is not a host name or address with a port"));
  }

  private static int endOfAuthority(String uri) throws BadRequest {
    if (!uri.regionMatches(true, 0, "http://", 0, "http://".length())) {
      throw new BadRequest("the target is neither a path nor an http URI");
    }
    int end = "http://".length();
    while (end < uri.length() && "/?#".indexOf(uri.charAt(end)) < 0) {
      end++;
    }
    return end;
  }

  private static boolean bodyless(
      HttpHeaders fields, boolean http2, boolean http10, boolean endsStream) throws BadRequest {
    List<String> lengths = fields.getAll(HttpHeaderNames.CONTENT_LENGTH);
    List<String> codings = fields.getAll(HttpHeaderNames.TRANSFER_ENCODING);
    if (lengths.size() > 1) {
      throw new BadRequest("there is more than one Content-Length");
    }
    if (!lengths.isEmpty()) {
      String length = lengths.getFirst();
      boolean number =
          !length.isEmpty()
              && length.length() <= MAX_LENGTH_DIGITS
              && length.chars().allMatch(c -> c >= '0' && c <= '9');
      if (!number) {
        throw new BadRequest("Content-Length is not a number");
      }
    }
    if (!codings.isEmpty()) {
      if (http2 || http10) {
        throw new BadRequest("Transfer-Encoding belongs to HTTP/1.1");
      }
      if (!lengths.isEmpty()) {
        throw new BadRequest("both Content-Length and Transfer-Encoding");
      }
      if (codings.size() > 1 || !codings.getFirst().equalsIgnoreCase("chunked")) {
        throw new BadRequest("a Transfer-Encoding other than chunked");
      }
      return false;
    }
    boolean none = lengths.isEmpty() || Long.parseLong(lengths.getFirst()) == 0;
    if (http2) {
      if (endsStream && !none) {
        throw new BadRequest("Content-Length promises a body that does not come");
      }
      return endsStream;
    }
    return none;
  }

  private static boolean expects(HttpHeaders fields, boolean http10) throws BadRequest {
    List<String> expectations = fields.getAll(HttpHeaderNames.EXPECT);
    if (expectations.isEmpty() || http10) {
      return false;
    }
    if (expectations.size() > 1 || !expectations.getFirst().equalsIgnoreCase("100-continue")) {
      throw new BadRequest(417, "an expectation that is not known");
    }
    return true;
  }

  /// What may be switched to. HTTP/2 may not (RFC 7540's `h2c`): its requests would be read by the
  /// server alone.
  private static Optional<String> upgrade(HttpHeaders fields, Set<String> named) {
    List<String> upgrades = fields.getAll(HttpHeaderNames.UPGRADE);
    if (upgrades.size() != 1 || !named.contains("upgrade")) {
      return Optional.empty();
    }
    String protocol = upgrades.getFirst();
    String lower = protocol.toLowerCase(Locale.ROOT);
    boolean usable =
        !lower.isEmpty()
            && lower.chars().allMatch(c -> HeadScanner.isToken(c) || c == '/')
            && !lower.startsWith("h2")
            && !lower.startsWith("http");
    return usable ? Optional.of(protocol) : Optional.empty();
  }

  /// What routing needs.
  Request request() {
    return new Request(
        authority.host(),
        authority.address(),
        authority.port(),
        method,
        target,
        http2,
        name -> fields.get(name));
  }

  boolean isHead() {
    return method.equals("HEAD");
  }

  /// Whether the answer's `grpc-status` tells how it went.
  boolean isGrpc() {
    String type = fields.get(HttpHeaderNames.CONTENT_TYPE);
    return type != null
        && (type.equals("application/grpc")
            || type.startsWith("application/grpc+")
            || type.startsWith("application/grpc;"));
  }

  /// For the log.
  String shownPath() {
    StringBuilder out = new StringBuilder();
    for (int i = 0; i < target.length() && out.length() < MAX_SHOWN_PATH; i++) {
      char c = target.charAt(i);
      if (c == '?') {
        break;
      }
      if (c > ' ' && c <= '~') {
        out.append(c);
      } else {
        out.append('%').append(Character.toUpperCase(Character.forDigit((c >> 4) & 15, 16)));
        out.append(Character.toUpperCase(Character.forDigit(c & 15, 16)));
      }
    }
    return out.toString();
  }

  /// The head that is sent on: this message and nothing about the client's connection.
  HttpRequest forUpstream(boolean toHttp2, RequestPolicy policy) {
    HttpHeaders out = Fields.empty();
    out.set(HttpHeaderNames.HOST, policy.authority().orElse(authority.text()));
    HttpHeaders travelling = Fields.empty();
    Fields.endToEnd(fields, named, travelling);
    travelling.remove(HttpHeaderNames.HOST);
    if (http2) {
      joinCookies(travelling);
    }
    if (http10) {
      travelling.remove(HttpHeaderNames.EXPECT);
    }
    out.add(travelling);
    Fields.edit(out, policy.requestHeaders());
    if (toHttp2) {
      if (fields.containsValue(HttpHeaderNames.TE, HttpHeaderValues.TRAILERS, true)) {
        out.set(HttpHeaderNames.TE, HttpHeaderValues.TRAILERS);
      }
    } else if (bodyless) {
      if (!out.contains(HttpHeaderNames.CONTENT_LENGTH) && BODY_EXPECTED.contains(method)) {
        out.set(HttpHeaderNames.CONTENT_LENGTH, "0");
      }
    } else if (!out.contains(HttpHeaderNames.CONTENT_LENGTH)) {
      out.set(HttpHeaderNames.TRANSFER_ENCODING, HttpHeaderValues.CHUNKED);
    }
    if (!toHttp2 && upgrade.isPresent()) {
      out.set(HttpHeaderNames.UPGRADE, upgrade.get());
      out.set(HttpHeaderNames.CONNECTION, HttpHeaderValues.UPGRADE);
    }
    return new DefaultHttpRequest(
        HttpVersion.HTTP_1_1, HttpMethod.valueOf(method), path(policy), out);
  }

  private String path(RequestPolicy policy) {
    return policy
        .path()
        .filter(p -> target.startsWith(p.prefix()))
        .map(p -> p.by() + target.substring(p.prefix().length()))
        .map(p -> p.startsWith("/") ? p : "/" + p)
        .orElse(target);
  }

  /// RFC 9113 section 8.2.3: HTTP/2 may send one cookie per field.
  private static void joinCookies(HttpHeaders fields) {
    List<String> cookies = fields.getAll(HttpHeaderNames.COOKIE);
    if (cookies.size() > 1) {
      fields.set(HttpHeaderNames.COOKIE, String.join("; ", cookies));
    }
  }
}
