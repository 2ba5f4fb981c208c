package io.tailwater.agent.node;

import org.junit.jupiter.api.Test;

/// With the rules in the pods' own namespaces.
class KernelPassTest extends KernelPassScenarios {
  KernelPassTest() {
    super("in-pod");
  }

  @Test
  void anAddressThatAnotherNameGetsIsDecidedAnewAndWhatWasReleasedStaysItsOwn() {
    addressChanges();
  }

  @Test
  void aTransferOutlivesTheAgentThatReleasedItAndIsCountedByTheNext() {
    transferOutlivesTheAgent(5_000_000_011L);
  }
}
