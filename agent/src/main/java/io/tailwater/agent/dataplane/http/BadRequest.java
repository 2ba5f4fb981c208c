package io.tailwater.agent.dataplane.http;

import java.io.Serial;

/// A request that is not forwarded because it is not as it has to be. Carried through Netty's
/// decoder as the cause of its failure, which is why it is an exception; without a stack trace.
final class BadRequest extends Exception {
  @Serial private static final long serialVersionUID = 1;

  private final int status;

  BadRequest(int status, String why) {
    super(why, null, false, false);
    this.status = status;
  }

  BadRequest(String why) {
    this(400, why);
  }

  int status() {
    return status;
  }

  String why() {
    return String.valueOf(getMessage());
  }
}
