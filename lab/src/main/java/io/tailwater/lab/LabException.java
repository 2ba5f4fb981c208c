package io.tailwater.lab;

/// The lab itself failed: a namespace could not be made, a server did not start, a command did not
/// end in time. Never thrown for a command that merely exits with something else than 0.
public final class LabException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public LabException(String message) {
    super(message);
  }

  public LabException(String message, Throwable cause) {
    super(message, cause);
  }
}
