package io.tailwater.agent.dataplane.http;

import io.netty.handler.codec.http.HttpResponse;
import io.netty.handler.codec.http.HttpResponseEncoder;

/// Netty's response encoder, which knows whether the request was HEAD, also after interim
/// responses.
final class ResponseEncoder extends HttpResponseEncoder {
  private boolean head;

  /// Whether the next final response answers HEAD.
  void answersHead(boolean value) {
    head = value;
  }

  @Override
  protected boolean isContentAlwaysEmpty(HttpResponse response) {
    return head || super.isContentAlwaysEmpty(response);
  }
}
