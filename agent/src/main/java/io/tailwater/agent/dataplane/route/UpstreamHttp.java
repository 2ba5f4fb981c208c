package io.tailwater.agent.dataplane.route;

/// Which HTTP requests go to a destination as.
public enum UpstreamHttp {
  HTTP1,
  /// With prior knowledge where it is plaintext; over TLS only if the server agrees (ALPN).
  HTTP2,
  /// What the client speaks: ports whose protocol is detected, and Istio's `useClientProtocol`.
  CLIENTS;

  /// Whether a request goes on as HTTP/2.
  public boolean http2(boolean clientSpeaksIt) {
    return switch (this) {
      case HTTP1 -> false;
      case HTTP2 -> true;
      case CLIENTS -> clientSpeaksIt;
    };
  }
}
