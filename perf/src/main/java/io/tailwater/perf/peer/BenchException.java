package io.tailwater.perf.peer;

/// Why a benchmark cannot go on; the message is for the person who runs it.
public final class BenchException extends RuntimeException {
  public BenchException(String message) {
    super(message);
  }

  public BenchException(String message, Throwable cause) {
    super(message, cause);
  }
}
