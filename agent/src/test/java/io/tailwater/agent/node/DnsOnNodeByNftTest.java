package io.tailwater.agent.node;

/// Captured on the node, by nf_tables itself, and answered on io_uring.
class DnsOnNodeByNftTest extends DnsScenarios {
  DnsOnNodeByNftTest() {
    super("capture: {mode: node, backend: nft}\ntransport: io_uring\n");
  }
}
