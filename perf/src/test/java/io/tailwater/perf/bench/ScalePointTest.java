package io.tailwater.perf.bench;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.perf.bench.ScalePoint.Axis;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class ScalePointTest {
  @Test
  void relayedConnectionsEndWhereTheAgentsDescriptorsDo() {
    assertThat(ScalePoint.of(Axis.CONNECTIONS))
        .filteredOn(point -> point.grade().equals("splice"))
        .extracting(ScalePoint::size)
        .containsExactly(10, 100, 1000, 8900);
    assertThat(ScalePoint.of(Axis.CONNECTIONS))
        .contains(new ScalePoint(Axis.CONNECTIONS, "kernel", 50_000));
  }

  @Test
  void connectionsAreSpreadOverPodsWhoseClientsHaveDescriptorsForThem() {
    ScalePoint most = new ScalePoint(Axis.CONNECTIONS, "kernel", 50_001);

    assertThat(most.shares()).hasSize(5);
    assertThat(Arrays.stream(most.shares()).max().orElseThrow()).isLessThanOrEqualTo(12_500);
    assertThat(Arrays.stream(most.shares()).sum()).isEqualTo(50_001);
    assertThat(most.pods()).isEqualTo(5);
  }

  @Test
  void whatDoesNotGrowIsOne() {
    ScalePoint pods = new ScalePoint(Axis.PODS, "splice", 200);

    assertThat(pods.held()).isZero();
    assertThat(pods.entries()).isEqualTo(1);
    assertThat(pods.holders()).isEqualTo(1);
    assertThat(new ScalePoint(Axis.POLICIES, "splice", 1000).entries()).isEqualTo(1000);
  }
}
