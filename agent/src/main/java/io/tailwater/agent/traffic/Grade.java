package io.tailwater.agent.traffic;

/// Who moves the bytes of a connection.
public enum Grade {
  /// The kernel alone; the agent only saw the ClientHello.
  KERNEL("kernel"),
  /// The kernel, pipe by pipe, started by the agent.
  SPLICE("splice"),
  /// The agent.
  COPY("copy");

  private final String text;

  Grade(String text) {
    this.text = text;
  }

  /// As logs and `explain` write it.
  public String text() {
    return text;
  }
}
