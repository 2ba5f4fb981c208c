package io.tailwater.agent.node;

/// With the rules in the pods' own namespaces.
class KernelPassTest extends KernelPassScenarios {
  KernelPassTest() {
    super("in-pod");
  }
}
