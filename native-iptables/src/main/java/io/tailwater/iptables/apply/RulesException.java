package io.tailwater.iptables.apply;

import io.tailwater.iptables.rule.IpFamily;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Rules could not be read, installed or removed. The message says where (namespace, family,
/// table), what the program said and what to do.
public final class RulesException extends RuntimeException {
  private final @Nullable IpFamily family;

  public RulesException(String message) {
    super(message);
    this.family = null;
  }

  public RulesException(IpFamily family, String message) {
    super(message);
    this.family = family;
  }

  public RulesException(IpFamily family, String message, Throwable cause) {
    super(message, cause);
    this.family = family;
  }

  /// The family that failed, when it is one of them and not the whole.
  public Optional<IpFamily> family() {
    return Optional.ofNullable(family);
  }
}
