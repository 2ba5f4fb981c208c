package io.tailwater.agent.node;

/// With the rules in the pods' own namespaces.
class KernelPassEscapeTest extends KernelPassEscapeScenarios {
  KernelPassEscapeTest() {
    super("in-pod");
  }
}
