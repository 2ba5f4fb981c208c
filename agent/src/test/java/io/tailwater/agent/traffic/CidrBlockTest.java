package io.tailwater.agent.traffic;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.net.Inet4Address;
import java.net.Inet6Address;
import java.net.InetAddress;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CidrBlockTest {
  private static InetAddress address(String text) {
    return CidrBlock.parseAddress(text).orElseThrow();
  }

  private static CidrBlock block(String text) {
    return CidrBlock.parse(text).orElseThrow();
  }

  // -- addresses

  @ParameterizedTest
  @ValueSource(strings = {"0.0.0.0", "192.0.2.1", "255.255.255.255", "10.0.0.10"})
  void readsIpv4Addresses(String text) {
    assertThat(address(text)).isInstanceOf(Inet4Address.class);
    assertThat(address(text).getHostAddress()).isEqualTo(text);
  }

  @ParameterizedTest
  @CsvSource({
    "::, 0:0:0:0:0:0:0:0",
    "::1, 0:0:0:0:0:0:0:1",
    "2001:db8::1, 2001:db8:0:0:0:0:0:1",
    "2001:DB8::A, 2001:db8:0:0:0:0:0:a",
    "1:2:3:4:5:6:7:8, 1:2:3:4:5:6:7:8",
    "64:ff9b::192.0.2.1, 64:ff9b:0:0:0:0:c000:201",
    "1::, 1:0:0:0:0:0:0:0"
  })
  void readsIpv6Addresses(String text, String full) {
    assertThat(address(text)).isInstanceOf(Inet6Address.class);
    assertThat(address(text).getHostAddress()).isEqualTo(full);
  }

  @Test
  void aMappedAddressIsTheIpv4AddressThatItMeans() {
    assertThat(address("::ffff:192.0.2.1")).isEqualTo(address("192.0.2.1"));
    assertThat(address("::ffff:c000:201")).isEqualTo(address("192.0.2.1"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        " ",
        "1",
        "1.2",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "1.2.3.-4",
        "1.2.3.+4",
        "01.2.3.4",
        "1.2.3.04",
        "0x1.2.3.4",
        "1.2.3.4 ",
        " 1.2.3.4",
        "1..2.3",
        ".1.2.3",
        "1.2.3.",
        "1.2.3.4.",
        "1.2.3.0004",
        "a.b.c.d",
        "localhost",
        "en.wikipedia.org",
        "\u0661.2.3.4",
        "2130706433"
      })
  void otherSpellingsAreNoIpv4Address(String text) {
    assertThat(CidrBlock.parseAddress(text)).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        ":",
        ":::",
        "1:",
        ":1",
        "1::2::3",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7:8::",
        "12345::",
        "00001::",
        "g::",
        "::1%lo",
        "::1%1",
        "fe80::1%eth0",
        "[::1]",
        "::1/64",
        " ::1",
        "::1 ",
        "::1.2.3",
        "::1.2.3.4.5",
        "::256.1.1.1",
        "::01.2.3.4",
        "::1.2.3.04",
        "1.2.3.4::",
        "::1.2.3.4:5",
        "::ffff:1.2.3",
        "::ffff:010.0.0.1",
        "\uff11::",
        "::\u0661",
        "::-1",
        "::+1"
      })
  void otherSpellingsAreNoIpv6Address(String text) {
    assertThat(CidrBlock.parseAddress(text)).isEmpty();
  }

  // -- blocks

  @ParameterizedTest
  @CsvSource({
    "192.0.2.0/24, 192.0.2.0/24",
    "0.0.0.0/0, 0.0.0.0/0",
    "192.0.2.1/32, 192.0.2.1/32",
    "192.0.2.1, 192.0.2.1/32",
    "2001:db8::/32, 2001:db8::/32",
    "::/0, ::/0",
    "2001:db8::1, 2001:db8::1/128"
  })
  void readsBlocks(String text, String shown) {
    assertThat(block(text)).hasToString(shown);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "/",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/8/8",
        "10.0.0.0/ 8",
        "10.0.0.0/8 ",
        "10.0.0.0/0008",
        "10.0.0.0/a",
        "10.0.0.0/255.0.0.0",
        "10.0.0/8",
        "::/129",
        "::/1000",
        "::/",
        "10.0.0.0/\u0668",
        "a.org/8",
        "10.0.0.0/99999999999"
      })
  void otherTextIsNoBlock(String text) {
    assertThat(CidrBlock.parse(text)).isEmpty();
  }

  @Test
  void bitsBehindThePrefixDoNotMatter() {
    assertThat(block("192.0.2.77/24")).isEqualTo(block("192.0.2.0/24"));
    assertThat(block("192.0.2.77/24")).hasToString("192.0.2.0/24");
    assertThat(block("2001:db8::7/33")).isEqualTo(block("2001:db8::/33"));
    assertThat(block("10.255.0.0/9")).hasToString("10.128.0.0/9");
    assertThat(block("1.2.3.4/0")).isEqualTo(block("0.0.0.0/0"));
  }

  @Test
  void aMappedBlockIsTheIpv4BlockThatItMeans() {
    assertThat(block("::ffff:10.0.0.0/104")).isEqualTo(block("10.0.0.0/8"));
    assertThat(block("::ffff:0:0/96")).isEqualTo(block("0.0.0.0/0"));
    assertThat(block("::ffff:192.0.2.1/128")).isEqualTo(block("192.0.2.1"));
    assertThat(block("::ffff:192.0.2.1")).isEqualTo(block("192.0.2.1"));
  }

  @Test
  void aShorterPrefixThanTheMappedOnesIsAnIpv6Block() {
    CidrBlock block = block("::ffff:10.0.0.0/8");

    assertThat(block).isEqualTo(block("::/8"));
    assertThat(block.contains(address("10.0.0.1"))).isFalse();
    assertThat(block.contains(address("::1"))).isTrue();
    assertThat(CidrBlock.parse("::ffff:10.0.0.0/129")).isEmpty();
  }

  @ParameterizedTest
  @CsvSource({
    "192.0.2.0/24, 192.0.2.0, true",
    "192.0.2.0/24, 192.0.2.255, true",
    "192.0.2.0/24, 192.0.3.0, false",
    "192.0.2.0/24, 192.0.1.255, false",
    "192.0.2.128/25, 192.0.2.127, false",
    "192.0.2.128/25, 192.0.2.128, true",
    "172.16.0.0/12, 172.31.255.255, true",
    "172.16.0.0/12, 172.32.0.0, false",
    "172.16.0.0/12, 172.15.255.255, false",
    "192.0.2.1/32, 192.0.2.1, true",
    "192.0.2.1/32, 192.0.2.2, false",
    "192.0.2.0/31, 192.0.2.1, true",
    "0.0.0.0/0, 255.255.255.255, true",
    "0.0.0.0/0, ::1, false",
    "::/0, 192.0.2.1, false",
    "::/0, ffff::, true",
    "fe80::/10, febf::1, true",
    "fe80::/10, fec0::1, false",
    "fc00::/7, fdff::1, true",
    "fc00::/7, fe00::1, false",
    "2001:db8::1/128, 2001:db8::1, true",
    "2001:db8::1/128, 2001:db8::2, false",
    "128.0.0.0/1, 128.0.0.0, true",
    "128.0.0.0/1, 127.255.255.255, false"
  })
  void containsWhatLiesInIt(String block, String address, boolean inside) {
    assertThat(block(block).contains(address(address))).isEqualTo(inside);
  }

  @Test
  void everyPrefixHoldsItsFirstAndLastAddressAndNotTheirNeighbours() {
    for (int prefix = 1; prefix <= 32; prefix++) {
      long size = 1L << (32 - prefix);
      long first = 0xac10_8001L / size * size;
      CidrBlock block = new CidrBlock(ipv4(first), prefix);

      assertThat(block.contains(ipv4(first))).isTrue();
      assertThat(block.contains(ipv4(first + size - 1))).isTrue();
      assertThat(block.contains(ipv4(first - 1 & 0xffff_ffffL))).isFalse();
      assertThat(block.contains(ipv4(first + size & 0xffff_ffffL))).isFalse();
    }
  }

  private static InetAddress ipv4(long value) {
    return address(
        (value >> 24) + "." + (value >> 16 & 255) + "." + (value >> 8 & 255) + "." + (value & 255));
  }

  @Test
  void aPrefixThatDoesNotFitIsRefused() {
    assertThatThrownBy(() -> new CidrBlock(address("10.0.0.0"), 33))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("prefix /33 does not fit 10.0.0.0");
    assertThatThrownBy(() -> new CidrBlock(address("::"), -1))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
