package io.tailwater.agent.node;

/// Captured on the node, by the old iptables.
class DnsOnNodeByLegacyTest extends DnsScenarios {
  DnsOnNodeByLegacyTest() {
    super("capture: {mode: node, backend: iptables-legacy}\n");
  }
}
