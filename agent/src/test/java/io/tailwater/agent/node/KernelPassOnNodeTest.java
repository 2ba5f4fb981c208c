package io.tailwater.agent.node;

/// With the rules in the node's namespace.
class KernelPassOnNodeTest extends KernelPassScenarios {
  KernelPassOnNodeTest() {
    super("node");
  }
}
