package io.tailwater.agent.node;

import java.util.List;
import org.junit.jupiter.api.Tag;

/// The same flow by all other combinations: with [FlowMatrixTest] the full product.
@Tag("long")
class FlowMatrixRestTest extends FlowScenarios {
  FlowMatrixRestTest(CaptureCombination by) {
    super(by);
  }

  static List<CaptureCombination> combinations() {
    return CaptureCombination.rest();
  }
}
