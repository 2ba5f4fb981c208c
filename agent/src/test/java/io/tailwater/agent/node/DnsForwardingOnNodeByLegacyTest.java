package io.tailwater.agent.node;

import org.junit.jupiter.api.Tag;

/// The same by the old iptables.
@Tag("long")
class DnsForwardingOnNodeByLegacyTest extends DnsForwardingOnNodeTest {
  @Override
  String capture() {
    return "capture: {mode: node, backend: iptables-legacy}\n";
  }
}
