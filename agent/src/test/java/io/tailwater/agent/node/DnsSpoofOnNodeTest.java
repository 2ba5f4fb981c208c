package io.tailwater.agent.node;

import org.junit.jupiter.api.Tag;

/// The same, captured on the node.
@Tag("long")
class DnsSpoofOnNodeTest extends DnsSpoofTest {
  @Override
  String capture() {
    return "capture: {mode: node}\n";
  }
}
