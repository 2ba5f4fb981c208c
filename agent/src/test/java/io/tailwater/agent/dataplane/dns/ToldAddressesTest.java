package io.tailwater.agent.dataplane.dns;

import static org.assertj.core.api.Assertions.assertThat;

import io.tailwater.agent.traffic.HostName;
import java.net.InetAddress;
import java.util.List;
import org.junit.jupiter.api.Test;

class ToldAddressesTest {
  private static final long SECOND = 1_000_000_000L;
  private static final InetAddress ADDRESS = InetAddress.ofLiteral("198.51.100.1");

  private final ToldAddresses told = new ToldAddresses();

  private void tell(String name, InetAddress address, long ttl, long now) {
    told.add(HostName.of(name), List.of(address), ttl, now);
  }

  @Test
  void namesOfAnAddressAreTheNewestFirst() {
    tell("a.example", ADDRESS, 60, 0);
    tell("b.example", ADDRESS, 60, 0);
    tell("a.example", ADDRESS, 60, 0);

    assertThat(told.names(ADDRESS, 0))
        .containsExactly(HostName.of("a.example"), HostName.of("b.example"));
    assertThat(told.names(InetAddress.ofLiteral("198.51.100.2"), 0)).isEmpty();
  }

  @Test
  void aNameCountsForItsTimeAndAGrace() {
    tell("a.example", ADDRESS, 60, 0);

    assertThat(told.names(ADDRESS, (60 + ToldAddresses.GRACE_SECONDS) * SECOND - 1)).hasSize(1);
    assertThat(told.names(ADDRESS, (60 + ToldAddresses.GRACE_SECONDS) * SECOND)).isEmpty();
  }

  @Test
  void whatAPodIsToldIsBounded() {
    for (int i = 0; i < ToldAddresses.NAMES * 3; i++) {
      tell("n" + i + ".example", ADDRESS, 60, 0);
    }
    assertThat(told.names(ADDRESS, 0)).hasSize(ToldAddresses.NAMES);

    for (int i = 0; i < ToldAddresses.ADDRESSES * 2; i++) {
      tell("a.example", InetAddress.ofLiteral("10.1." + i / 256 + "." + i % 256), 60, 0);
    }
    assertThat(told.size()).isEqualTo(ToldAddresses.ADDRESSES);
    assertThat(told.names(ADDRESS, 0)).isEmpty();
  }
}
