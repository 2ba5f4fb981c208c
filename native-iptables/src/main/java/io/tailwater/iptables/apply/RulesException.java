package io.tailwater.iptables.apply;

/// Rules could not be read, installed or removed. The message says where (namespace, family,
/// table), what the program said and what to do.
public final class RulesException extends RuntimeException {
  public RulesException(String message) {
    super(message);
  }

  public RulesException(String message, Throwable cause) {
    super(message, cause);
  }
}
