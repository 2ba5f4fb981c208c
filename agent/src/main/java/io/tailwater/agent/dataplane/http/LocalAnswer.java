package io.tailwater.agent.dataplane.http;

import io.netty.buffer.Unpooled;
import io.netty.handler.codec.http.DefaultHttpResponse;
import io.netty.handler.codec.http.DefaultLastHttpContent;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaders;
import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.handler.codec.http.LastHttpContent;
import io.tailwater.agent.dataplane.route.Decision;
import io.tailwater.agent.traffic.Refusal;
import java.nio.charset.StandardCharsets;

/// A response that this room gives by itself: one line of text that says why.
record LocalAnswer(int status, String text) {
  /// The status that a client is told for a refusal.
  static int statusOf(Refusal why) {
    return switch (why) {
      case ADDRESS_FILTERED, POLICY_DENIED -> 403;
      case NO_HEALTHY_UPSTREAM,
          DNS_FAILURE,
          CONNECT_FAILED,
          LIMIT,
          WAYPOINT_UNAVAILABLE,
          CLUSTER_NOT_FOUND ->
          503;
      case NOT_SUPPORTED_YET -> 501;
      case HTTP_502,
          CONNECTION_CLOSED,
          MALFORMED_HELLO,
          NO_SNI,
          HELLO_TIMEOUT,
          DIRECT_HIT,
          UNKNOWN_SOURCE,
          NAME_REFUSED,
          UDP,
          IPV6,
          MARK,
          ICMP,
          PROTOCOL,
          UNCAPTURED,
          PACKET_SOCKET,
          RELEASED_ADDRESS_MISMATCH ->
          502;
    };
  }

  static LocalAnswer of(Refusal why) {
    return new LocalAnswer(statusOf(why), why.sentence() + " (" + why.code() + ")");
  }

  /// For a refusal that policy decided.
  static LocalAnswer of(Refusal why, Decision decision) {
    return decision instanceof Decision.Refuse refuse && refuse.noRoute().isPresent()
        ? new LocalAnswer(
            404, "none of the routes of this Host takes the request (" + why.code() + ")")
        : of(why);
  }

  private byte[] body() {
    return (text + "\n").getBytes(StandardCharsets.US_ASCII);
  }

  HttpResponse head() {
    HttpHeaders fields = Fields.empty();
    fields.set(HttpHeaderNames.CONTENT_LENGTH, Integer.toString(body().length));
    fields.set(HttpHeaderNames.CONTENT_TYPE, "text/plain");
    if (status == 405) {
      fields.set(HttpHeaderNames.ALLOW, "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH");
    }
    return new DefaultHttpResponse(
        HttpVersion.HTTP_1_1, HttpResponseStatus.valueOf(status), fields);
  }

  LastHttpContent last(boolean answersHead) {
    return answersHead
        ? LastHttpContent.EMPTY_LAST_CONTENT
        : new DefaultLastHttpContent(Unpooled.wrappedBuffer(body()));
  }
}
