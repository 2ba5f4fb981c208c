package io.tailwater.agent.dataplane.http;

import io.netty.handler.codec.CodecException;
import io.netty.handler.codec.http2.Http2Exception;
import java.io.IOException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Tells the ends of connections and what peers do wrong, which are told elsewhere, from defects of
/// ours, which belong into the log.
final class Failures {
  private static final Logger LOG = LoggerFactory.getLogger(Failures.class);

  private Failures() {}

  static void note(Throwable failure) {
    boolean ordinary =
        failure instanceof IOException
            || failure instanceof CodecException
            || failure instanceof Http2Exception;
    if (!ordinary) {
      LOG.error("an HTTP connection failed", failure);
    }
  }
}
