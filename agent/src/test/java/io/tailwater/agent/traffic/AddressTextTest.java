package io.tailwater.agent.traffic;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.InetAddress;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class AddressTextTest {
  @ParameterizedTest
  @CsvSource({
    "2001:db8:0:0:0:0:0:11, 2001:db8::11",
    "0:0:0:0:0:0:0:0, ::",
    "0:0:0:0:0:0:0:1, ::1",
    "fe80:0:0:0:0:0:0:0, fe80::",
    "2001:db8:0:1:1:1:1:1, 2001:db8:0:1:1:1:1:1",
    "2001:0:0:1:0:0:0:1, 2001:0:0:1::1",
    "2001:db8:0:0:1:0:0:1, 2001:db8::1:0:0:1",
    "10:0:0:100:0:0:0:1, 10:0:0:100::1",
    "198.51.100.10, 198.51.100.10"
  })
  void theLongestRunOfZeroGroupsIsShortenedTheFirstOfEquals(String address, String text) {
    assertThat(AddressText.of(InetAddress.ofLiteral(address))).isEqualTo(text);
  }

  @Test
  void aPortStandsBehindBracketsForIpv6Only() {
    assertThat(AddressText.of(InetAddress.ofLiteral("2001:db8::1"), 443))
        .isEqualTo("[2001:db8::1]:443");
    assertThat(AddressText.of(InetAddress.ofLiteral("192.0.2.1"), 443)).isEqualTo("192.0.2.1:443");
  }
}
