package io.tailwater.agent.node;

/// Captured in the pods.
class DnsCaptureTest extends DnsScenarios {
  DnsCaptureTest() {
    super("");
  }
}
