package io.tailwater.agent.node;

import org.junit.jupiter.api.Tag;

/// The same, captured on the node.
@Tag("long")
class DnsAllocatedOnNodeTest extends DnsAllocatedTest {
  @Override
  String capture() {
    return "capture: {mode: node}\n";
  }
}
