package io.tailwater.agent.dataplane.resolve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.tailwater.agent.traffic.AddressRule;
import io.tailwater.agent.traffic.AddressRule.Scope;
import io.tailwater.agent.traffic.CidrBlock;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class StandardAddressFilterTest {
  private static final AddressRule NEVER = new AddressRule(Scope.NEVER_LIST, List.of());
  private static final AddressRule STRANGER =
      new AddressRule(Scope.NEVER_LIST_AND_PRIVATE, List.of());

  private final Set<InetAddress> own = new HashSet<>();
  private final StandardAddressFilter filter = new StandardAddressFilter(() -> own);

  /// Keeps a mapped address an IPv6 address, as an AAAA record gives it.
  private static InetAddress address(String text) {
    InetAddress parsed = CidrBlock.parseAddress(text).orElseThrow();
    if (text.indexOf(':') < 0 || parsed instanceof Inet6Address) {
      return parsed;
    }
    byte[] bytes = new byte[16];
    bytes[10] = -1;
    bytes[11] = -1;
    System.arraycopy(parsed.getAddress(), 0, bytes, 12, 4);
    return six(bytes, -1);
  }

  private static Inet6Address six(byte[] bytes, int scope) {
    try {
      return Inet6Address.getByAddress(null, bytes, scope);
    } catch (UnknownHostException e) {
      throw new AssertionError(e);
    }
  }

  private static AddressRule except(String... blocks) {
    return new AddressRule(
        Scope.NEVER_LIST_AND_PRIVATE,
        Arrays.stream(blocks).map(b -> CidrBlock.parse(b).orElseThrow()).toList());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "0.0.0.0 | 0.0.0.0/8 (unspecified)",
        "0.255.255.255 | 0.0.0.0/8",
        "127.0.0.1 | 127.0.0.0/8 (loopback)",
        "127.255.255.255 | 127.0.0.0/8",
        "169.254.0.0 | 169.254.0.0/16",
        "169.254.169.254 | link-local, metadata",
        "169.254.255.255 | 169.254.0.0/16",
        "224.0.0.1 | 224.0.0.0/4 (multicast)",
        "239.255.255.255 | 224.0.0.0/4",
        "240.0.0.0 | 240.0.0.0/4",
        "255.255.255.255 | 240.0.0.0/4",
        ":: | unspecified",
        "::1 | loopback",
        "fe80::1 | fe80::/10",
        "febf:ffff::1 | fe80::/10",
        "fd00:ec2::254 | metadata",
        "ff02::1 | ff00::/8",
        "::ffff:127.0.0.1 | stands for 127.0.0.1, which is in 127.0.0.0/8",
        "::ffff:169.254.169.254 | stands for 169.254.169.254",
        "::ffff:0:169.254.169.254 | stands for 169.254.169.254",
        "::127.0.0.1 | stands for 127.0.0.1",
        "64:ff9b::169.254.169.254 | stands for 169.254.169.254",
        "64:ff9b:1::169.254.169.254 | stands for 169.254.169.254",
        "64:ff9b:1:fffe::127.0.0.1 | stands for 127.0.0.1",
        "64:ff9b:1:a9fe:a9:fe00:: | stands for 169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::8 | stands for",
        "64:ff9b:1:12a9:fe:a9fe:: | stands for 169.254.169.254",
        "64:ff9b:1:0:a9:fea9:fe00:0 | stands for",
        "2002:7f00:1:: | stands for 127.0.0.1",
        "2002:a9fe:a9fe::1 | stands for 169.254.169.254",
        "2001:0:4136:e378:8000:63bf:5601:5601 | stands for 169.254.169.254",
      })
  void neverDialledWhateverTheScope(String text, String reason) {
    InetAddress address = address(text);
    for (AddressRule rule : List.of(NEVER, STRANGER, except("0.0.0.0/0", "::/0"))) {
      assertThat(filter.admits(address, rule)).isFalse();
      assertThat(filter.reason(address, rule)).contains(reason);
    }
    assertThat(filter.admits(address, AddressRule.UNFILTERED)).isTrue();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "223.255.255.255",
        // Documentation and benchmarks are ordinary.
        "192.0.2.1",
        "198.51.100.10",
        "203.0.113.9",
        "198.18.0.1",
        "2001:db8::1",
        "2606:4700::1111",
        "::ffff:198.51.100.10",
        "64:ff9b::198.51.100.10",
        "64:ff9b:1::198.51.100.10",
        "64:ff9b:1:fffe::198.51.100.10",
        "64:ff9b:1:ffff:ffff:ffff:198.51.100.10",
        "2002:c633:640a::1",
        "64:ff9c::169.254.169.254",
        "fbff::1",
      })
  void ordinaryAddressesAreDialled(String text) {
    assertThat(filter.admits(address(text), NEVER)).isTrue();
    assertThat(filter.admits(address(text), STRANGER)).isTrue();
    assertThatThrownBy(() -> filter.reason(address(text), STRANGER))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "10.0.0.0 | 10.0.0.0/8 (private); the exception 10.0.0.0/32 would",
        "10.255.255.255 | 10.0.0.0/8",
        "172.16.0.0 | 172.16.0.0/12",
        "172.31.255.255 | 172.16.0.0/12",
        "192.168.0.1 | 192.168.0.0/16",
        "100.64.0.0 | 100.64.0.0/10",
        "100.127.255.255 | 100.64.0.0/10",
        "fc00::1 | fc00::/7",
        "fd12:3456::1 | the exception fd12:3456::1/128 would",
        "fd00:ec2::253 | fc00::/7",
        "fec0::1 | fec0::/10",
        "::ffff:10.0.0.8 | stands for 10.0.0.8, which is in 10.0.0.0/8 (private); the exception"
            + " 10.0.0.8/32 would",
        "64:ff9b::10.0.0.8 | stands for 10.0.0.8",
        "2002:a00:8::1 | stands for 10.0.0.8",
      })
  void privateAddressesAreForNamesThatNoStrangerOwns(String text, String reason) {
    InetAddress address = address(text);
    assertThat(filter.admits(address, NEVER)).isTrue();
    assertThat(filter.admits(address, STRANGER)).isFalse();
    assertThat(filter.reason(address, STRANGER)).contains(reason);
  }

  @Test
  void anExceptionAdmitsAPrivateAddressInAllItsForms() {
    AddressRule rule = except("10.1.0.0/16", "fd12::/16");
    for (String text :
        List.of("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::", "fd12::9")) {
      assertThat(filter.admits(address(text), rule)).as(text).isTrue();
    }
    assertThat(filter.admits(address("10.2.0.1"), rule)).isFalse();
    assertThat(filter.admits(address("fd13::1"), rule)).isFalse();
    assertThat(filter.admits(address("192.168.0.1"), rule)).isFalse();
  }

  @Test
  void anExceptionMayNameTheIpv6FormItself() {
    assertThat(filter.admits(address("64:ff9b::10.1.2.3"), except("64:ff9b::/96"))).isTrue();
    assertThat(filter.admits(address("10.1.2.3"), except("64:ff9b::/96"))).isFalse();
  }

  @Test
  void theNodesOwnAddressesAreSeenAsTheyAreNow() {
    InetAddress node = address("203.0.113.7");
    assertThat(filter.admits(node, NEVER)).isTrue();

    own.add(node);
    own.add(address("2001:db8::7"));
    for (String text :
        List.of("203.0.113.7", "2001:db8::7", "::ffff:203.0.113.7", "64:ff9b::203.0.113.7")) {
      assertThat(filter.admits(address(text), except("0.0.0.0/0", "::/0"))).as(text).isFalse();
      assertThat(filter.reason(address(text), NEVER)).contains("is one of the node's own");
    }
    assertThat(filter.admits(node, AddressRule.UNFILTERED)).isTrue();

    own.clear();
    assertThat(filter.admits(node, NEVER)).isTrue();
  }

  @Test
  void anAddressWithAScopeIsRefused() {
    InetAddress scoped = six(address("2001:db8::1").getAddress(), 3);
    assertThat(filter.admits(scoped, NEVER)).isFalse();
    assertThat(filter.reason(scoped, NEVER)).contains("scope id");
  }

  @Test
  void whatIsRefusedIsCounted() {
    ResolveStats stats = new ResolveStats();
    AddressFilter counting = new CountingFilter(filter, stats);

    assertThat(counting.admits(address("198.51.100.1"), NEVER)).isTrue();
    assertThat(counting.admits(address("169.254.169.254"), NEVER)).isFalse();

    assertThat(stats.counters()).containsEntry("dns_address_filter_out", 1L);
    assertThat(counting.reason(address("169.254.169.254"), NEVER)).contains("metadata");
  }
}
