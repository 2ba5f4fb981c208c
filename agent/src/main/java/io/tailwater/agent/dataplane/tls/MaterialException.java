package io.tailwater.agent.dataplane.tls;

/// A file, Secret or setting that cannot be used. The message is a clause for people.
final class MaterialException extends Exception {
  MaterialException(String message) {
    super(message);
  }

  MaterialException(String message, Throwable cause) {
    super(message, cause);
  }
}
