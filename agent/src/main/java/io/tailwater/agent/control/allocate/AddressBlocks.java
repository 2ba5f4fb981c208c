package io.tailwater.agent.control.allocate;

import io.tailwater.agent.traffic.CidrBlock;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.OptionalInt;

/// The two blocks that addresses are allocated from, Istio's defaults
/// (`PILOT_IP_AUTOALLOCATE_IPV4_PREFIX` and `_IPV6_PREFIX`). The same number means the same place
/// in both. Stateless.
final class AddressBlocks {
  static final CidrBlock V4 = CidrBlock.parse("240.240.0.0/16").orElseThrow();
  static final CidrBlock V6 = CidrBlock.parse("2001:2::/48").orElseThrow();

  /// Numbers are 1 to this: the first and the last address of the IPv4 block stay free.
  static final int LAST = 0xfffe;

  private AddressBlocks() {}

  static InetAddress v4(int number) {
    return at(V4, number);
  }

  static InetAddress v6(int number) {
    return at(V6, number);
  }

  private static InetAddress at(CidrBlock block, int number) {
    byte[] bytes = block.network().getAddress();
    bytes[bytes.length - 2] = (byte) (number >> 8);
    bytes[bytes.length - 1] = (byte) number;
    try {
      return InetAddress.getByAddress(bytes);
    } catch (UnknownHostException e) {
      throw new IllegalStateException("4 or 16 bytes are an address", e);
    }
  }

  /// The number of an address; empty where it is none that is allocated.
  static OptionalInt number(InetAddress address) {
    byte[] bytes = address.getAddress();
    int number = (bytes[bytes.length - 2] & 0xff) << 8 | (bytes[bytes.length - 1] & 0xff);
    boolean ours =
        number >= 1
            && number <= LAST
            && (address instanceof Inet4Address ? v4(number) : v6(number)).equals(address);
    return ours ? OptionalInt.of(number) : OptionalInt.empty();
  }

  /// Whether a block has an address that could be allocated.
  static boolean touches(CidrBlock block) {
    return overlap(block, V4) || overlap(block, V6);
  }

  private static boolean overlap(CidrBlock a, CidrBlock b) {
    return a.contains(b.network()) || b.contains(a.network());
  }
}
