package io.tailwater.agent.node;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class ReadinessTest {
  private final Readiness readiness = new Readiness();

  @Test
  void isReadyWhenNobodyHoldsATask() {
    Readiness.Task policy = readiness.hold("policy");
    Readiness.Task capture = readiness.hold("capture");
    assertThat(readiness.pending()).containsExactly("capture", "policy");

    policy.close();
    assertThat(readiness.ready()).isFalse();

    capture.close();
    assertThat(readiness.ready()).isTrue();
  }

  @Test
  void aTaskClosedTwiceIsClosedOnce() {
    Readiness.Task first = readiness.hold("pod");
    readiness.hold("pod");

    first.close();
    first.close();

    assertThat(readiness.pending()).containsExactly("pod");
  }
}
