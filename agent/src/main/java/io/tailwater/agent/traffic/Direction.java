package io.tailwater.agent.traffic;

/// Which way a captured connection goes, seen from its pod.
public enum Direction {
  /// A program of the pod dialled.
  OUTBOUND("outbound", "source"),
  /// A server of the pod was dialled.
  INBOUND("inbound", "destination");

  private final String text;
  private final String reporter;

  Direction(String text, String reporter) {
    this.text = text;
    this.reporter = reporter;
  }

  /// As logs and pages write it.
  public String text() {
    return text;
  }

  /// The label `reporter` of Istio's metrics: whose side of the connection the pod is.
  public String reporter() {
    return reporter;
  }
}
