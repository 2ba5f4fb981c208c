package io.tailwater.iptables.netns;

/// A path that does not lead to a network namespace which can be entered. The message says what to
/// do.
public final class NetnsException extends RuntimeException {
  public NetnsException(String message) {
    super(message);
  }

  public NetnsException(String message, Throwable cause) {
    super(message, cause);
  }
}
