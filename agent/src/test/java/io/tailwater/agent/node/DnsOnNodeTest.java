package io.tailwater.agent.node;

/// Captured on the node, by iptables.
class DnsOnNodeTest extends DnsScenarios {
  DnsOnNodeTest() {
    super("capture: {mode: node, backend: iptables-nft}\n");
  }
}
