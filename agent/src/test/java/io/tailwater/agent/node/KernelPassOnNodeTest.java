package io.tailwater.agent.node;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// With the rules in the node's namespace. Who judges what was said is the same as in a pod, so
/// what only tries that judge is for the long run.
class KernelPassOnNodeTest extends KernelPassScenarios {
  KernelPassOnNodeTest() {
    super("node");
  }

  @Override
  @Tag("long")
  @ParameterizedTest
  @MethodSource("pieces")
  void aHelloInManyPiecesArrivesWhole(int piece, int pause) {
    super.aHelloInManyPiecesArrivesWhole(piece, pause);
  }

  @Tag("long")
  @Test
  void anAddressThatAnotherNameGetsIsDecidedAnewAndWhatWasReleasedStaysItsOwn() {
    addressChanges();
  }
}
