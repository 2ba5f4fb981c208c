package io.tailwater.agent.dataplane.http;

import io.netty.handler.codec.http.HttpContent;
import io.netty.handler.codec.http.HttpObject;
import io.netty.handler.codec.http.HttpRequest;

/// One request on one upstream connection: an HTTP/1 connection for as long as the request lasts,
/// or an HTTP/2 stream. On the loop.
interface Leg {
  /// Sends the head; with `whole`, nothing follows it.
  void head(HttpRequest request, boolean whole);

  /// Sends a piece of the body, or its end; owns it.
  void content(HttpContent content);

  void flush();

  boolean writable();

  /// Wants one more object of the response.
  void ask();

  boolean http2();

  /// Whether it has carried a request before: a failure may then be the peer's timeout.
  boolean used();

  Upstream.RequestCounter counter();

  /// Request and response are over. With `reusable` the connection may carry another request.
  void complete(boolean reusable);

  /// Gives up: closes the connection or resets the stream.
  void cancel();

  /// Who waits for the response.
  interface Listener {
    /// An object of the response that was asked for; the listener owns it.
    void response(HttpObject object);

    /// What was handed out so far may be flushed on.
    void responsePause();

    /// There will be no more of it. With `refused` the peer has not looked at the request.
    void responseEnded(boolean refused);

    void legWritable();
  }
}
