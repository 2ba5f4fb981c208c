package io.tailwater.agent.node;

import java.util.List;

/// The same flow by a few combinations, so that every two values meet in one of them.
class FlowMatrixTest extends FlowScenarios {
  FlowMatrixTest(CaptureCombination by) {
    super(by);
  }

  static List<CaptureCombination> combinations() {
    return CaptureCombination.pairs();
  }
}
