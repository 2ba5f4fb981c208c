package io.tailwater.agent.admin;

/// A server of the agent cannot listen. The message names the key of the configuration and what to
/// do.
public final class AdminException extends RuntimeException {
  public AdminException(String message, Throwable cause) {
    super(message, cause);
  }
}
