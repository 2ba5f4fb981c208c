package io.tailwater.agent.dataplane.resolve;

import static io.tailwater.agent.dataplane.resolve.ScriptedLookup.addresses;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.agent.dataplane.resolve.ResolveConfig.FailureRefreshRate;
import io.tailwater.agent.dataplane.resolve.ResolveConfig.LookupFamily;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;

class ResolveConfigTest {
  @Test
  void defaultsAreThoseOfTheInterface() {
    assertThat(ResolveConfig.defaults())
        .isEqualTo(
            new ResolveConfig(
                List.of(),
                LookupFamily.ALL,
                Duration.ofMinutes(5),
                10_000,
                1_000,
                Duration.ofSeconds(5),
                Duration.ofHours(1),
                Duration.ofMinutes(5),
                new FailureRefreshRate(Duration.ofSeconds(1), Duration.ofSeconds(30)),
                Duration.ofSeconds(5)));
  }

  @Test
  void everyProblemIsReportedAtOnce() {
    assertThatThrownBy(() ->
            new ResolveConfig(
                List.of(
                    InetSocketAddress.createUnresolved("ns.example.com", 53),
                    new InetSocketAddress(addresses("192.0.2.1").getFirst(), 0)),
                LookupFamily.ALL,
                Duration.ZERO,
                0,
                -1,
                Duration.ofMillis(500),
                Duration.ofMillis(100),
                Duration.ofSeconds(-1),
                new FailureRefreshRate(Duration.ZERO, Duration.ofSeconds(-1)),
                Duration.ofHours(1)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContainingAll(
            "dns: servers: ns.example.com is not an address",
            "dns: servers: 192.0.2.1 has the port 0",
            "dns: hostTtl: must be at least 1s",
            "dns: maxHosts: must be at least 1",
            "dns: maxHostsPerPod: must be at least 1",
            "dns: minRefreshRate: must be at least 1s",
            "dns: maxTtl: must not be below minRefreshRate (500ms)",
            "dns: maxStale: must not be negative",
            "dns: failureRefreshRate.baseInterval: must be at least 1ms",
            "dns: failureRefreshRate.maxInterval: must not be below baseInterval",
            "dns: queryTimeout: must be at most 5m");
  }

  @Test
  void ipv6IsPreferred() {
    assertThat(LookupFamily.ALL.families()).containsExactly(Lookup.Family.V6, Lookup.Family.V4);
  }
}
