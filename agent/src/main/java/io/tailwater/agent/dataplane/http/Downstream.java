package io.tailwater.agent.dataplane.http;

import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpResponse;

/// The client's side of one request: the HTTP/1 connection while the request lasts, or an HTTP/2
/// stream. On the loop.
interface Downstream {
  /// Wants one more object of the request's body.
  void askBody();

  boolean writable();

  /// Sends an interim response (1xx).
  void interim(HttpResponse response);

  /// Sends the head of the response and frames what follows it. `requestRead` tells whether the
  /// request was read to its end by now.
  void head(HttpResponse response, boolean requestRead);

  /// Sends a piece of the body, or its end; owns it.
  void content(HttpContent content);

  void flush();

  /// The response is sent; `requestRead` tells whether the request was read to its end. The
  /// exchange is over.
  void finished(boolean requestRead);

  /// The response cannot be sent, or not to its end: the client is told by a reset. The exchange is
  /// over.
  void abort();

  /// Switches protocols after 101: from here on bytes go both ways as they come. Not for HTTP/2.
  void tunnel(HttpResponse response, Leg leg);
}
